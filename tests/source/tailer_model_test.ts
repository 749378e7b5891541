import { expect, test } from "bun:test";
import fc from "fast-check";
import fs from "node:fs";
import path from "node:path";
import { inodeKey, recordInodeKey } from "../../src/source/file_identity.ts";
import { type FileOps, systemFileOps } from "../../src/source/file_ops.ts";
import type { Running } from "./harness.ts";
import { Bench, until } from "./harness.ts";
import { roomyOps } from "./rescue_bench.ts";

type FailingOp = "read" | "open" | "fstat" | "list" | "stat" | "realpath";

/** What a writer, logrotate, an operator and the system do. */
type Action =
  | { readonly kind: "append"; readonly lines: number; readonly partial: boolean }
  | { readonly kind: "rotate"; readonly late: number; readonly recreate: boolean }
  | { readonly kind: "truncate"; readonly lines: number }
  | { readonly kind: "restart"; readonly rotations: number; readonly lines: number }
  | { readonly kind: "lose"; readonly isMoved: boolean; readonly isSeen: boolean }
  | { readonly kind: "fail"; readonly op: FailingOp; readonly code: string; readonly count: number }
  | { readonly kind: "deaf"; readonly isDeaf: boolean }
  | { readonly kind: "room"; readonly lines: number }
  | { readonly kind: "sleep"; readonly ms: number };

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant("append" as const), lines: fc.nat(200), partial: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("rotate" as const), late: fc.nat(3), recreate: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("truncate" as const), lines: fc.nat(300) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("restart" as const), rotations: fc.nat(3), lines: fc.nat(20) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("room" as const), lines: fc.nat(400) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("sleep" as const), ms: fc.nat(15) }) },
);

/** Files vanish that one sink has not read yet. */
const losingAction: fc.Arbitrary<Action> = fc.oneof(
  { weight: 12, arbitrary: action },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("lose" as const), isMoved: fc.boolean(), isSeen: fc.boolean() }),
  },
);

/** Calls fail, and the kernel tells nothing. */
const failingAction: fc.Arbitrary<Action> = fc.oneof(
  { weight: 12, arbitrary: action },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("fail" as const),
      op: fc.constantFrom("read", "open", "fstat", "list", "stat", "realpath"),
      code: fc.constantFrom("EIO", "EMFILE", "ESTALE"),
      count: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("deaf" as const), isDeaf: fc.boolean() }) },
);

const SINKS = ["limited", "free"] as const;
const KEPT = 30;
/** Birth times have the grain of a clock tick; rotations that nobody sees are put in order by them. */
const BIRTH_GRAIN_MS = 12;

/** The system's calls, of which the next ones fail that are to. */
class FailingOps {
  /** No event arrives. */
  isDeaf = false;
  wasDeaf = false;
  readonly #failing = new Map<FailingOp, { readonly code: string; count: number }>();

  readonly ops: FileOps = {
    ...systemFileOps,
    read: (...call) => this.#call("read", () => systemFileOps.read(...call)),
    open: (...call) => this.#call("open", () => systemFileOps.open(...call)),
    fstat: (...call) => this.#call("fstat", () => systemFileOps.fstat(...call)),
    list: (...call) => this.#call("list", () => systemFileOps.list(...call)),
    stat: (...call) => this.#call("stat", () => systemFileOps.stat(...call)),
    realpath: (...call) => this.#call("realpath", () => systemFileOps.realpath(...call)),
    watch: (folder, onEvent, onError) =>
      systemFileOps.watch(folder, (...event) => this.isDeaf || onEvent(...event), onError),
  };

  fail(op: FailingOp, code: string, count: number): void {
    this.#failing.set(op, { code, count });
  }

  setDeaf(isDeaf: boolean): void {
    this.isDeaf = isDeaf;
    this.wasDeaf ||= isDeaf;
  }

  /** All works again. */
  heal(): void {
    this.#failing.clear();
    this.isDeaf = false;
  }

  async #call<T>(op: FailingOp, call: () => Promise<T>): Promise<T> {
    const failing = this.#failing.get(op);
    if (failing === undefined || failing.count-- <= 0) return await call();
    throw Object.assign(new Error("The system fails"), { code: failing.code });
  }
}

/** The log as its writer knows it, and a source that follows it, through restarts. */
class Model {
  readonly #bench: Bench;
  readonly #isLosing: boolean;
  readonly #system = new FailingOps();
  #lostCount = 0;
  readonly #taken: string[][] = SINKS.map(() => []);
  /** Every line that was written, in order; the last one may have no newline yet. */
  readonly #written: string[] = [];
  #hasPartial = false;
  #nextLine = 0;
  #run!: Running;

  /** `isLosing`: files vanish, so that all of them have to be kept open. */
  constructor(bench: Bench, isLosing = false) {
    this.#bench = bench;
    this.#isLosing = isLosing;
  }

  async start(): Promise<void> {
    this.#run = await this.#bench.start({
      sinks: SINKS,
      rooms: [20, Infinity],
      ops: this.#system.ops,
      config: {
        rotateWaitMs: 60,
        globMinimumCooldownMs: 100,
        maxOpenFiles: this.#isLosing ? null : 4,
      },
      ...(this.#isLosing ? { rescueSizeBytesMax: 64 * 1_048_576, rescueOps: roomyOps } : {}),
    });
  }

  /** A file that is rotated before it was ever seen is none of ours. */
  async untilSeen(): Promise<void> {
    await until(() => this.#run.metrics.watchedFiles === 1);
  }

  async apply(step: Action): Promise<void> {
    if (step.kind === "append") this.#append(step.lines, step.partial);
    else if (step.kind === "rotate") this.#rotate(step.late, step.recreate);
    else if (step.kind === "lose") await this.#lose(step.isMoved, step.isSeen);
    else if (step.kind === "fail") this.#system.fail(step.op, step.code, step.count);
    else if (step.kind === "deaf") this.#system.setDeaf(step.isDeaf);
    else if (step.kind === "room") this.#run.outlets[0]!.addRoom(step.lines);
    else if (step.kind === "sleep") await Bun.sleep(step.ms);
    else if (step.kind === "truncate") await this.#truncate(step.lines);
    else await this.#restart(step.rotations, step.lines);
  }

  /** Everything arrives at every sink, once and in order. */
  async check(): Promise<void> {
    this.#system.heal();
    if (this.#hasPartial) this.#write("\n");
    this.#hasPartial = false;
    await this.#drain();
    await Bun.sleep(20); // for what is too much
    await this.#stop();
    for (const taken of this.#taken) expect(taken).toEqual(this.#written);
  }

  #append(lines: number, partial: boolean): void {
    let text = "";
    for (let i = 0; i < lines; i++) text += `${this.#line()}\n`;
    if (partial) {
      text += this.#line();
    } else if (lines === 0 && this.#hasPartial) {
      text = "\n";
      this.#hasPartial = false;
    }
    this.#write(text);
    if (partial) this.#hasPartial = true;
  }

  /** A line, or the rest of the one that is open. */
  #line(): string {
    // Numbers as filler: what is in front of a position should say where it is, as in a log with times.
    const text = `line ${this.#nextLine} ${`${this.#nextLine},`.repeat(this.#nextLine++ % 60)}`;
    if (this.#hasPartial) this.#written[this.#written.length - 1] += text;
    else this.#written.push(text);
    this.#hasPartial = false;
    return text;
  }

  #write(text: string): void {
    this.#bench.append("a.log", text);
  }

  #rotate(late: number, recreate: boolean): void {
    if (!fs.existsSync(this.#bench.path("a.log"))) return;
    for (let i = KEPT; i > 0; i--) {
      if (fs.existsSync(this.#bench.path(`a.log.${i}`))) this.#bench.rename(`a.log.${i}`, `a.log.${i + 1}`);
    }
    this.#bench.rename("a.log", "a.log.1");
    // The writer still has the old file.
    for (let i = 0; i < late; i++) this.#bench.append("a.log.1", `${this.#line()}\n`);
    this.#hasPartial = false;
    if (recreate) this.#write("");
  }

  /** Whoever truncates may lose lines: here everything was read before. */
  async #truncate(lines: number): Promise<void> {
    if (this.#hasPartial) this.#append(0, false);
    await this.#drain();
    if (!fs.existsSync(this.#bench.path("a.log"))) return;
    if (fs.statSync(this.#bench.path("a.log")).size === 0) return;
    const { metrics } = this.#run;
    const before = metrics.truncationsCount;
    fs.truncateSync(this.#bench.path("a.log"), 0);
    this.#append(lines, false);
    // Files that are born before a truncation was seen are taken for copies of what was truncated.
    await until(() => metrics.truncationsCount > before);
  }

  /** All files vanish, whole or in part unread by the slow sink, and a new one is there. `isSeen`: the source has noticed by then. */
  async #lose(isMoved: boolean, isSeen: boolean): Promise<void> {
    if (this.#hasPartial) this.#append(0, false);
    // What was never seen is lost to everybody.
    await this.#drain(1);
    for (const name of fs.readdirSync(this.#bench.logs)) {
      const file = this.#bench.path(name);
      if (isMoved) fs.renameSync(file, path.join(this.#bench.folder, `away-${this.#lostCount++}`));
      else fs.unlinkSync(file);
    }
    Bun.sleepSync(BIRTH_GRAIN_MS);
    this.#write("");
    if (!isSeen) return;
    // Inodes are used again.
    const inode = inodeKey(fs.statSync(this.#bench.path("a.log"), { bigint: true }));
    const { store } = this.#run;
    await until(() => store.records("app").some((record) => recordInodeKey(record) === inode));
  }

  async #restart(rotations: number, lines: number): Promise<void> {
    await this.#stop();
    for (let i = 0; i < rotations; i++) {
      Bun.sleepSync(BIRTH_GRAIN_MS);
      this.#rotate(0, true);
      this.#append(lines, false);
    }
    await this.start();
  }

  async #drain(firstSink = 0): Promise<void> {
    // Without events, a file that came and went in between is found with the next one.
    if (this.#system.wasDeaf && !fs.existsSync(this.#bench.path("a.log"))) this.#append(1, false);
    const count = this.#written.length;
    for (const [index, outlet] of this.#run.outlets.entries()) {
      if (index < firstSink) continue;
      outlet.addRoom(1_000_000);
      const missing = count - this.#taken[index]!.length;
      await outlet.untilCount(missing, 5_000).catch(() => this.#tellMissing(index));
    }
  }

  #tellMissing(index: number): void {
    const taken = new Set([...this.#taken[index]!, ...this.#run.outlets[index]!.texts]);
    const numbers = this.#written.filter((line) => !taken.has(line)).map((line) => line.split(" ")[1]);
    throw new Error(`Sink "${SINKS[index]}" misses lines ${numbers.join(", ")} of ${this.#written.length}`);
  }

  async #stop(): Promise<void> {
    await this.#run.stop();
    this.#run.outlets.forEach((outlet, index) => this.#taken[index]!.push(...outlet.texts));
  }
}

/** More by hand. */
const RUNS = Number(process.env.SHIPPER_MODEL_RUNS ?? 20);
const LIMITS = { numRuns: RUNS, interruptAfterTimeLimit: RUNS * 1_000 };

async function modelled(actions: readonly Action[], isLosing: boolean): Promise<void> {
  await using bench = new Bench();
  const model = new Model(bench, isLosing);
  bench.write("a.log", "");
  await model.start();
  await model.untilSeen();
  for (const step of actions) await model.apply(step);
  await model.check();
}

for (
  const [what, steps, isLosing] of [
    ["file source gives every line once and in order, whatever happens to the file", action, false],
    ["the same where files are deleted and moved away before every sink has read them", losingAction, true],
    ["the same where calls of the system fail now and then, and events do not come", failingAction, false],
  ] as const
) {
  test(what, async () => {
    const actions = fc.array(steps, { minLength: 5, maxLength: 40 });
    await fc.assert(fc.asyncProperty(actions, (each) => modelled(each, isLosing)), LIMITS);
  }, 6 * RUNS * 1_000);
}
