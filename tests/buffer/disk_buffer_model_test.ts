import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Durability } from "../../src/storage/log_options.ts";
import { ModelFile, valueOf } from "../journal/model_world.ts";
import { SINK } from "./buffer_bench.ts";
import { type Action, action, type Case } from "./model_actions.ts";
import { Life, Outside, PARTITIONS } from "./model_life.ts";

/*
 * A disk buffer under random actions: files and stdin in front of it, a sink with intents behind it, kills, power cuts and a disk that refuses. The
 * reference is what a reader of the topic sees: every line of every file once, in order by file and partition, and every line of stdin that was secure.
 */

/** More by hand: SHIPPER_MODEL_RUNS=20000. */
const RUNS = Number(process.env.SHIPPER_MODEL_RUNS ?? 60);
const NEWLINE = 10;
const STOP_MS_MAX = 10_000;

class Model {
  readonly #case: Case;
  readonly #outside: Outside;
  #life!: Life;

  constructor(chosen: Case) {
    this.#case = chosen;
    this.#outside = new Outside(chosen.seed);
  }

  async run(): Promise<void> {
    this.#life = await Life.open(this.#outside, this.#case);
    for (const action of this.#case.actions) {
      await this.#act(action);
      this.#life.noteSecure();
      this.#life.check();
    }
    await this.#finish();
  }

  #file(index: number): ModelFile {
    return this.#outside.files[index % this.#outside.files.length]!;
  }

  async #act(action: Action): Promise<void> {
    const life = this.#life;
    switch (action.do) {
      case "append":
        return this.#file(action.file).append(action.lengths);
      case "append many":
        return this.#file(action.file).append(Array.from({ length: action.count }, () => 58));
      case "read":
        return void life.read(this.#file(action.file), action.bytes);
      case "pipe":
        return life.pipe(action.lengths);
      case "take":
        return void life.take();
      case "seal":
        return life.seal(action.partition, action.count);
      case "commit":
        return life.commit();
      case "flush":
        return void life.bench.journal.positions.flush().catch(() => {}); // the log was closed under it
      case "send":
        return life.send(life.batches[action.place]);
      case "acknowledge":
        return life.acknowledge(life.batches[action.place]);
      case "step":
        return await life.step(action.buffer, action.journal);
      case "wait":
        await Bun.sleep(2);
        return;
      default:
        return await this.#actRarely(action);
    }
  }

  async #actRarely(action: Action): Promise<void> {
    const { disks, files } = this.#outside;
    switch (action.do) {
      case "recover":
        return await this.#life.recover();
      case "new file":
        if (files.length >= 4) return;
        files.push(new ModelFile(`f${files.length}`));
        return this.#life.announce(files.at(-1)!);
      case "fault":
        disks[action.disk].faults.set(disks[action.disk].calls + action.inCalls, action.fault);
        return;
      case "full":
        disks.buffer.capacityBytes = action.isFull ? disks.buffer.usedBytes() + 8_192 : Infinity;
        return;
      case "cut back":
        return this.#cutBack(this.#file(action.file), action.place);
      case "stop":
        return await this.#stop();
      case "crash":
        return await this.#crash(action.isPower, action.inCalls);
    }
  }

  /** Somebody truncates the file, or a power cut took its end; others are written in their place. */
  #cutBack(file: ModelFile, chosen: number): void {
    const { positions } = this.#life.bench.journal;
    const { id } = file.stream;
    const places = positions.marks("app", id, SINK).map(({ endOffset }) => endOffset).filter((offset) =>
      file.content[offset - 1] === NEWLINE && offset < file.content.length
    );
    const offset = places[chosen % places.length];
    if (offset === undefined) return;
    for (const value of file.cut(offset)) this.#outside.excused.add(value);
    positions.rewind("app", id, SINK, offset);
    const { offsets } = this.#life.bench;
    if ((offsets.get(id) ?? 0) > offset) offsets.set(id, offset);
  }

  async #stop(): Promise<void> {
    const { disks } = this.#outside;
    for (const disk of [disks.buffer, disks.journal]) disk.faults.clear();
    disks.buffer.capacityBytes = Infinity;
    const life = this.#life;
    let isOver: boolean | null = null;
    let failure: unknown = null;
    life.bench.close().then(() => isOver = true, (error: unknown) => failure = error);
    // A log that was refused something tries again after a pause.
    const untilMs = performance.now() + STOP_MS_MAX;
    while (isOver === null) {
      if (performance.now() > untilMs) {
        throw new Error(`Stopping does not come to an end: ${life.describe()}`);
      }
      if (failure !== null) throw new Error(`${failure}: ${life.describe()}`);
      life.writers.buffer.step();
      life.writers.journal.step();
      await new Promise((resolve) => setImmediate(resolve));
    }
    life.noteSecure();
    if (this.#case.durability === "machine") disks.powerCut();
    else disks.kill();
    this.#life = await Life.open(this.#outside, this.#case);
  }

  async #crash(isPower: boolean, inCalls: number): Promise<void> {
    const { disks } = this.#outside;
    const life = this.#life;
    const disk = isPower ? disks.buffer : inCalls % 2 === 0 ? disks.buffer : disks.journal;
    // In the midst of what is under way, at a call of its own.
    disk.faults.set(disk.calls + inCalls, "crash");
    await life.step(4, 4);
    life.bench.die();
    if (isPower && this.#case.durability === "machine") disks.powerCut();
    else disks.kill();
    for (const each of [disks.buffer, disks.journal]) each.faults.clear();
    disks.buffer.capacityBytes = Infinity;
    life.writers.buffer.close();
    life.writers.journal.close();
    this.#life = await Life.open(this.#outside, this.#case);
  }

  /** The disk works again: everything goes out, and nothing is left. */
  async #finish(): Promise<void> {
    const { disks, files } = this.#outside;
    for (const disk of [disks.buffer, disks.journal]) disk.faults.clear();
    disks.buffer.capacityBytes = Infinity;
    const life = this.#life;
    for (let round = 0, idleCount = 0; idleCount < 12; round++) {
      if (round > 3_000) throw new Error(`Delivery does not come to an end: ${life.describe()}`);
      let isBusy = false;
      while (life.recovered.length > 0) await life.recover();
      for (const file of files) if (life.read(file, 1 << 20) > 0) isBusy = true;
      while (life.take()) isBusy = true;
      for (let partition = 0; partition < PARTITIONS; partition++) life.seal(partition, 200);
      life.commit();
      for (const batch of [...life.batches]) {
        life.send(batch);
        life.acknowledge(batch);
      }
      if (life.batches.length > 0 || life.pending.some(({ values }) => values.length > 0)) isBusy = true;
      const segmentCount = disks.buffer.list().filter((name) => /^\d/u.test(name)).length;
      const isEmpty = life.bench.metrics.sink(SINK).bufferedEvents === 0 && segmentCount <= 1 &&
        life.bench.differences().length === 0;
      const isRead = files.every(({ content, stream }) =>
        (life.bench.offsets.get(stream.id) ?? -1) === content.length
      );
      if (isBusy || !isEmpty || !isRead) idleCount = 0;
      else idleCount++;
      await life.step(3, 3);
      if (round % 20 === 19) await Bun.sleep(2);
    }
    life.check();
    this.#judge();
    await this.#stop();
    for (const file of files) expect(this.#life.read(file, 1 << 20)).toBe(0);
    expect(this.#life.take()).toBe(false);
  }

  #judge(): void {
    const { files, topics, excused, secureStdin } = this.#outside;
    const counts = new Map<string, number>();
    for (const value of this.#outside.delivered()) counts.set(value, (counts.get(value) ?? 0) + 1);
    const mayDrop = this.#case.whenFull === "drop_oldest";
    const lost: string[] = [];
    const known = new Set<string>();
    for (const value of files.flatMap(({ lines }) => lines.map(valueOf))) {
      known.add(value);
      if (!counts.has(value) && !excused.has(value) && !mayDrop) lost.push(value);
    }
    for (const value of secureStdin) if (!counts.has(value) && !mayDrop) lost.push(value);
    const twice = this.#case.isExact
      ? [...counts].filter(([, count]) => count > 1).map(([value]) => value)
      : [];
    const strange = [...counts.keys()].filter((value) =>
      value.startsWith("f") && !known.has(value) && !excused.has(value)
    );
    expect({ lost, twice, strange, log: lost.length > 0 ? this.#life.bench.log.texts("error") : [] }).toEqual(
      { lost: [], twice: [], strange: [], log: [] },
    );
    const lostCount = this.#life.bench.metrics.sink(SINK).lost.total();
    expect([lostCount, this.#life.bench.log.lines.filter(({ level }) => level === "error")]).toEqual([0, []]);
    if (!this.#case.isExact) return;
    for (const topic of topics) this.#judgeOrder(topic);
  }

  /** Lines of a file, and of a run of stdin in its partition, come in the order in which they were read. */
  #judgeOrder(topic: readonly string[]): void {
    const last = new Map<string, number>();
    const wrong: string[] = [];
    for (const value of topic) {
      const [stream, line] = value.split("-") as [string, string];
      if (Number(line) <= (last.get(stream) ?? -1)) wrong.push(value);
      last.set(stream, Number(line));
    }
    expect(wrong).toEqual([]);
  }
}

test(
  "whatever is killed, cut, refused and full: every line once, in order, and the buffer within its size",
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          durability: fc.constantFrom<Durability>("machine", "process"),
          whenFull: fc.constantFrom("block" as const, "drop_newest" as const, "drop_oldest" as const),
          isExact: fc.boolean(),
          seed: fc.nat(),
          actions: fc.array(action, { minLength: 20, maxLength: 200, size: "max" }),
        }),
        async (chosen) => await new Model(chosen).run(),
      ),
      {
        numRuns: RUNS,

        ...(process.env.SHIPPER_MODEL_SEED ? { seed: Number(process.env.SHIPPER_MODEL_SEED) } : {}),
      },
    );
  },
  Math.max(240_000, 4_000 * RUNS),
);
