import { expect, test } from "bun:test";
import fs from "node:fs";
import { BufferPool } from "../../src/event/pooled_buffer.ts";
import { findStdinFile, type StdinFile } from "../../src/source/stdin_file.ts";
import { createStdinFileSource } from "../../src/source/stdin_file_source.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { FakeOutlet } from "./fake_outlet.ts";
import { Bench, MemoryLog, numbered } from "./harness.ts";

/** Opens the file as a shell does for `< FILE`, reads `skip` bytes, and lets `use` have it. */
async function withStdin<T>(path: string, use: (file: StdinFile) => Promise<T>, skip = 0): Promise<T> {
  const fd = fs.openSync(path, "r");
  try {
    if (skip > 0) fs.readSync(fd, Buffer.alloc(skip), 0, skip, null);
    return await use(findStdinFile(fd) as StdinFile);
  } finally {
    fs.closeSync(fd);
  }
}

/** One run of a source over the file, until its end or until it has given `room` lines. */
async function runOnce(
  bench: Bench,
  file: StdinFile,
  options: { room?: number; isKilled?: boolean; sinks?: string[]; onLine?: (outlet: FakeOutlet) => void } =
    {},
) {
  const store = bench.stored.open();
  const room = options.room ?? Infinity;
  const outlets = (options.sinks ?? ["out"]).map((sink) => new FakeOutlet(sink, store, room));
  const [outlet] = outlets as [FakeOutlet];
  outlet.onLine = () => options.onLine?.(outlet);
  const stopping = new AbortController();
  const log = new MemoryLog();
  const metrics = new SourceMetrics();
  const running = createStdinFileSource({
    config: { type: "stdin", name: "in", maxLineBytes: 262_144, decoding: { codec: "text" } },
    file,
    outlets,
    checkpoint: store,
    metrics,
    log,
    pool: new BufferPool(),
  }).run(stopping.signal);
  if (room < Infinity) {
    await outlet.untilCount(room);
    if (options.isKilled === true) bench.stored.cutOff();
    stopping.abort();
  }
  await running;
  await store.flush();
  store.close();
  return { texts: outlet.texts, outlet, outlets, log, metrics };
}

test("a file on stdin is read to its end, without a path, and a second run gives what was appended meanwhile", async () => {
  await using bench = new Bench();
  bench.write("a", numbered("line", 1_000) + "last");
  const first = await withStdin(bench.path("a"), (file) => runOnce(bench, file));
  expect(first.texts.join("\n")).toBe(numbered("line", 1_000) + "last");
  expect(first.outlet.lines[0]!.path).toBe("");
  expect(first.outlet.ended.length).toBe(1);
  expect((await withStdin(bench.path("a"), (file) => runOnce(bench, file))).texts).toEqual([]);
  bench.append("a", "\nmore\n");
  const third = await withStdin(bench.path("a"), (file) => runOnce(bench, file));
  // Its newline makes an end of the last line, which was given already.
  expect(third.texts.filter((text) => text !== "")).toEqual(["more"]);
  expect(third.metrics.openFiles).toBe(0);
});

test("a run that was stopped goes on where it was, for each sink", async () => {
  await using bench = new Bench();
  bench.write("a", numbered("line", 1_000));
  const first = await withStdin(
    bench.path("a"),
    (file) => runOnce(bench, file, { room: 300, sinks: ["a", "b"] }),
  );
  const again = await withStdin(bench.path("a"), (file) => runOnce(bench, file, { sinks: ["a", "b"] }));
  for (const i of [0, 1]) {
    const texts = [...first.outlets[i]!.texts, ...again.outlets[i]!.texts];
    expect(texts.join("\n") + "\n").toBe(numbered("line", 1_000));
  }
  expect(first.outlets[0]!.texts.length).toBe(300);
});

test("what is appended while it is read is read too: the run ends at the end that it finds", async () => {
  await using bench = new Bench();
  bench.write("a", numbered("line", 100_000));
  let isAppended = false;
  const { texts } = await withStdin(bench.path("a"), (file) =>
    runOnce(bench, file, {
      onLine: () => {
        if (!isAppended) bench.append("a", numbered("more", 10_000));
        isAppended = true;
      },
    }));
  expect(texts.length).toBe(110_000);
});

test("without a stored position it starts where the descriptor stands", async () => {
  await using bench = new Bench();
  bench.write("a", numbered("line", 100));
  const { texts } = await withStdin(bench.path("a"), (file) => runOnce(bench, file), 7 * 10);
  expect(texts[0]).toBe("line 10");
  expect(texts.length).toBe(90);
  bench.append("a", "more\n");
  expect((await withStdin(bench.path("a"), (file) => runOnce(bench, file))).texts).toEqual(["more"]);
});

test("other content under the same name or inode is read from its start; the other file's position stays", async () => {
  await using bench = new Bench();
  bench.write("a", numbered("line", 100));
  await withStdin(bench.path("a"), (file) => runOnce(bench, file, { room: 50 }));
  bench.rename("a", "b");
  bench.write("a", numbered("other", 20));
  expect((await withStdin(bench.path("a"), (file) => runOnce(bench, file))).texts.length).toBe(20);
  expect((await withStdin(bench.path("b"), (file) => runOnce(bench, file))).texts.length).toBe(50);
  bench.write("b", numbered("anew", 300)); // the same inode
  const anew = await withStdin(bench.path("b"), (file) => runOnce(bench, file));
  expect(anew.texts.length).toBe(300);
  expect(anew.log.matching("holds other content").length).toBe(1);
});

test("what is a file on stdin, and what is read as a pipe", async () => {
  await using bench = new Bench();
  bench.write("a", "line\n");
  const openedAs = (path: string, flags: string) => {
    const fd = fs.openSync(path, flags);
    return { fd, [Symbol.dispose]: () => fs.closeSync(fd) };
  };
  using null_ = openedAs("/dev/null", "r");
  expect(findStdinFile(null_.fd)).toBeNull();
  expect(findStdinFile(9_999)).toBeNull();
  using writeOnly = openedAs(bench.path("a"), "a");
  expect(findStdinFile(writeOnly.fd)).toContain("writing only");
  using file = openedAs(bench.path("a"), "r");
  expect(findStdinFile(file.fd)).toEqual({ fd: file.fd, path: bench.path("a"), offset: 0 });
  bench.rename("a", "b");
  expect(findStdinFile(file.fd)).toMatchObject({ path: bench.path("b") });
  fs.unlinkSync(bench.path("b"));
  expect(findStdinFile(file.fd)).toContain("no name any more");
});
