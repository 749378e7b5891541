import { afterEach, expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { StartError } from "../../src/errors.ts";
import { BufferPool } from "../../src/event/pooled_buffer.ts";
import { Command } from "../../src/source/command.ts";
import { createExecSource } from "../../src/source/exec_source.ts";
import { LANE_HELD_BYTES_MAX } from "../../src/source/stdin_lane.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";
import { FakeOutlet } from "./fake_outlet.ts";
import { MemoryLog } from "./harness.ts";

const KIB = 1_024;

const started: Command[] = [];
afterEach(() => {
  for (const command of started.splice(0)) command.signal("SIGKILL");
});

/** A source that runs the words and gives what they write to an outlet. */
function setUp(words: readonly string[], options: { room?: number; shutdownTimeoutMs?: number } = {}) {
  const command = new Command(words);
  started.push(command);
  const outlet = new FakeOutlet("a", null, options.room ?? Infinity);
  const log = new MemoryLog();
  const stop = new AbortController();
  let endCount = 0;
  const source = createExecSource({
    config: { type: "stdin", name: "app", maxLineBytes: 262_144, decoding: { codec: "text" } },
    command,
    tee: false,
    outlets: [outlet],
    metrics: new SourceMetrics(),
    log,
    pool: new BufferPool(),
    hostname: "h",
    now: Date.now,
    shutdownTimeoutMs: options.shutdownTimeoutMs ?? 60_000,
    onEnd: () => endCount++,
  });
  return { command, outlet, log, stop, source, ends: () => endCount, run: () => source.run(stop.signal) };
}

const shell = (text: string) => ["sh", "-c", text];

test("both outputs are read to their ends, each as a stream of its own, halves of lines at the end included", async () => {
  const { outlet, run, command, ends } = setUp(shell("echo out; echo err >&2; printf half; printf rest >&2"));
  await run();
  expect(outlet.texts.toSorted()).toEqual(["err", "half", "out", "rest"]);
  expect(new Set(outlet.lines.map((line) => line.stream)).size).toBe(2);
  expect(outlet.ended.length).toBe(2);
  expect(await command.ended).toEqual({ exitCode: 0, signal: null });
  expect(ends()).toBe(1);
});

for (
  const [text, exitCode, signal] of [
    ["exit 7", 7, null],
    ["kill -KILL $$", 137, "SIGKILL"],
    ["kill -USR1 $$", 138, "SIGUSR1"],
    ["kill -34 $$", 162, "34"],
  ] as const
) {
  test(`${text}: exit code ${exitCode}`, async () => {
    const { run, command } = setUp(shell(text));
    await run();
    expect(await command.ended).toEqual({ exitCode, signal });
  });
}

test("stdout and stderr are pipes that can be opened by their names", async () => {
  const { outlet, run } = setUp(shell("echo one >/dev/stdout; echo two >/dev/stderr"));
  await run();
  expect(outlet.texts.toSorted()).toEqual(["one", "two"]);
});

test("a command has only its own ends of the pipes, and the default for every signal", async () => {
  await using dir = tempDir("exec-ends");
  // By way of a file: a pipe between two commands would be an end of the shell's own, for some moments.
  const ends = dir.file("ends");
  const { outlet, run } = setUp(
    shell(`ls -l /proc/$$/fd >${ends}; grep -c pipe: ${ends}; grep SigIgn /proc/$$/status`),
  );
  await run();
  expect(outlet.texts[0]).toBe("2");
  expect(outlet.texts[1]).toMatch(/^SigIgn:\s+0+$/);
});

test("what cannot be started is a StartError with the exit code of a shell", async () => {
  await using dir = tempDir("exec");
  const file = (name: string, text: string, mode: number) => {
    writeFileSync(dir.file(name), text);
    chmodSync(dir.file(name), mode);
    return dir.file(name);
  };
  const cases: [string, string, number][] = [
    ["no-such-program", "command-not-found", 127],
    [dir.file("nothing"), "command-not-found", 127],
    [file("interpreter", "#!/no/such/program\n", 0o755), "command-not-found", 127],
    [file("text", "not a program\n", 0o644), "command-not-runnable", 126],
    [file("no-head", "echo\n", 0o755), "command-not-runnable", 126],
    [dir.path, "command-not-runnable", 126],
  ];
  for (const [program, code, exitCode] of cases) {
    const { run, command, ends } = setUp([program]);
    const error = await run().then(() => null, (reason: unknown) => reason);
    expect(error, program).toBeInstanceOf(StartError);
    expect(error, program).toMatchObject({ code, exitCode });
    expect((error as StartError).message).toContain(`"${program}"`);
    expect((error as StartError).hint).not.toBeNull();
    expect(command.wasStarted).toBe(false);
    expect(ends()).toBe(0);
  }
});

test("a full outlet blocks the command, not memory; nothing is lost when it takes on", async () => {
  const lines = 20_000;
  const { outlet, run, command } = setUp(shell(`seq -f '%0100.0f' ${lines}`), { room: 100 });
  const running = run();
  await waitUntil("it is full", () => outlet.lines.length === 100);
  await Bun.sleep(200);
  expect(command.isRunning).toBe(true);
  expect(outlet.offeredBytesMax).toBeLessThan(LANE_HELD_BYTES_MAX + 256 * KIB);
  outlet.addRoom(Infinity);
  await running;
  expect(outlet.lines.length).toBe(lines);
  expect(outlet.texts.every((text, i) => Number(text) === i + 1)).toBe(true);
});

test("a command that has closed its outputs and lives on is waited for", async () => {
  const { run, ends, command, outlet } = setUp(shell("echo one; exec >&- 2>&-; sleep 0.5; exit 3"));
  const running = run();
  await outlet.untilCount(1);
  await waitUntil("its outputs have ended", () => outlet.ended.length === 2);
  expect(ends()).toBe(0);
  await running;
  expect(await command.ended).toEqual({ exitCode: 3, signal: null });
});

test("a process that is left behind and keeps a pipe open is not waited for longer than the limit", async () => {
  const { run, outlet, log } = setUp(shell("(exec 2>&-; sleep 20) & echo $!; echo said"), {
    shutdownTimeoutMs: 600,
  });
  const startMs = performance.now();
  await run();
  expect(performance.now() - startMs).toBeLessThan(10_000);
  expect(outlet.texts[1]).toBe("said");
  process.kill(Number(outlet.texts[0]));
  expect(log.matching("keeps its stdout open")).toHaveLength(1);
});

test("what the command wrote before its end is read, however long the outlet is full behind it", async () => {
  const count = 5_000;
  const { run, outlet, log, command } = setUp(
    shell(`sleep 20 & echo $!; seq -f '%0100.0f' ${count}; exit 0`),
    { room: 10, shutdownTimeoutMs: 600 },
  );
  const running = run();
  // What is left then is a little more than waits in front of an outlet: it is in the pipe, and the command can end.
  await outlet.untilCount(10);
  outlet.addRoom(1_700);
  await waitUntil("it has ended", () => !command.isRunning);
  await Bun.sleep(1_500);
  expect(log.matching("keeps its")).toHaveLength(0);
  outlet.addRoom(Infinity);
  await running;
  expect(outlet.lines.length).toBe(count + 1);
  process.kill(Number(outlet.texts[0]));
  expect(log.matching("keeps its stdout and stderr open")).toHaveLength(1);
}, 60_000);

test("an abort before the start starts nothing", async () => {
  const { run, stop, command } = setUp(shell("echo one"));
  stop.abort();
  await run();
  expect(command.wasStarted).toBe(false);
});

test("an abort while the command runs closes its pipes and asks it to end", async () => {
  const { run, stop, command, outlet, log } = setUp(
    shell("trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"),
  );
  const running = run();
  await outlet.untilCount(1);
  stop.abort();
  await running;
  expect(await command.ended).toEqual({ exitCode: 9, signal: null });
  expect(log.matching("Nothing can be delivered any more")).toHaveLength(1);
});

test("signals reach the command, and none after its end", async () => {
  const { run, command, outlet } = setUp(
    shell("trap 'echo usr1' USR1; trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done"),
  );
  const running = run();
  await outlet.untilCount(1);
  command.signal("SIGUSR1");
  await outlet.untilCount(2);
  command.signal("SIGTERM");
  await running;
  command.signal("SIGTERM");
  expect(outlet.texts).toEqual(["ready", "usr1"]);
  expect(await command.ended).toEqual({ exitCode: 5, signal: null });
});
