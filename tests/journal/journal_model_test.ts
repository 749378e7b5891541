import { test } from "bun:test";
import fc from "fast-check";
import { Membership } from "../../src/batch/membership.ts";
import type { HeldLines } from "../../src/event/tracked_region.ts";
import type { Durability } from "../../src/storage/log_options.ts";
import { type Action, action, type Replacement } from "./model_actions.ts";
import { checkEnd, checkRestart, wrongTotals } from "./model_checks.ts";
import { type ModelBatch, type ModelLane, ModelRun } from "./model_run.ts";
import { keyOfBatch, type ModelFile, SINKS, valuesOf, World } from "./model_world.ts";

/*
 * Journal, ledgers, lanes and rebuilding together, under random actions, kills and power cuts. The reference is what a reader of the topics sees:
 * every line of every file once, whatever happened. After each crash what is left on the disk is looked at as well (`checkRestart`).
 */

/** More by hand: SHIPPER_MODEL_RUNS=20000. */
const RUNS = Number(process.env.SHIPPER_MODEL_RUNS ?? 150);

const NEWLINE = 10;

interface Case {
  readonly durability: Durability;
  readonly seed: number;
  readonly sectorBytes: number;
  readonly actions: readonly Action[];
}

class Model {
  readonly #durability: Durability;
  readonly #world: World;
  #run!: ModelRun;

  constructor({ durability, seed, sectorBytes }: Case) {
    this.#durability = durability;
    this.#world = new World(seed, sectorBytes);
  }

  async run(actions: readonly Action[]): Promise<void> {
    this.#run = await ModelRun.open(this.#world, this.#durability);
    for (const step of actions) await this.#act(step);
    await this.#finish();
  }

  async #act(step: Action): Promise<void> {
    const run = this.#run;
    const lane = "sink" in step ? run.lanes[step.sink]! : run.lanes[0]!;
    switch (step.kind) {
      case "write": {
        const target = this.#world.files[step.file % this.#world.files.length]!;
        if (!target.isRotatedAway) target.append(step.lengths);
        return;
      }
      case "read":
        lane.read(this.#readable(step.file), run.journal.positions, step.bytes);
        return;
      case "take":
        lane.take();
        return;
      case "seal":
        if (lane.intents?.hasRoom() !== false) lane.seal(step.partition % lane.sink.partitions, step.count);
        return;
      case "commit":
        return run.commit();
      case "flush":
        void run.journal.positions.flush().catch(() => {}); // the log was closed under it
        return;
      case "step":
        for (let i = 0; i < step.count; i++) await this.#step();
        return;
      case "send":
        return this.#send(lane, lane.batches[step.place]);
      case "acknowledge":
        return this.#acknowledge(lane, lane.batches[step.place]);
      default:
        return await this.#actRarely(step, lane);
    }
  }

  async #actRarely(step: Action, lane: ModelLane): Promise<void> {
    const run = this.#run;
    switch (step.kind) {
      case "replace":
        return this.#replace(lane, lane.batches[step.place], step.how);
      case "recover":
        return await this.#recover(lane, step.isReplacing);
      case "rotate":
        return this.#rotate(step.file);
      case "cut back":
        return this.#cutBack(step.file, step.place);
      case "new file":
        if (this.#world.files.length < 4) this.#world.addFile();
        return run.announce();
      case "fault":
        this.#world.disk.faults.set(this.#world.disk.calls + step.inCalls, step.fault);
        return;
      case "crash":
        return await this.#crash(step.isPower, step.inCalls);
      case "close":
        await this.#close();
        return await this.#open();
    }
  }

  #readable(index: number): ModelFile {
    const { files } = this.#world;
    const records = new Set(this.#run.journal.positions.records("app").map(({ id }) => id));
    const known = files.filter(({ stream }) => records.has(stream.id));
    return known[index % known.length]!;
  }

  #send(lane: ModelLane, batch: ModelBatch | undefined): void {
    if (batch?.isDurable) this.#world.write(lane.sink.name, batch.key, batch.values);
  }

  #acknowledge(lane: ModelLane, batch: ModelBatch | undefined): void {
    if (batch === undefined || !this.#world.has(batch.key)) return;
    if (batch.id !== null) lane.intents!.acknowledge(batch.id);
    lane.remove(batch);
    batch.members.settle("delivered");
  }

  /** The cluster refused the batch. */
  #replace(lane: ModelLane, batch: ModelBatch | undefined, how: Replacement): void {
    if (batch === undefined || lane.intents === null || this.#world.has(batch.key)) return;
    const { members, values } = batch;
    const parts = {
      "split": [[0, values.length >> 1], [values.length >> 1, values.length]],
      "renumber": [[0, values.length]],
      "reject first": [[1, values.length]],
      "reject all": [],
    }[how];
    const goneCount = how === "reject first" ? 1 : how === "reject all" ? values.length : 0;
    const gone = members.slice(0, goneCount);
    lane.remove(batch);
    const made = parts.filter(([from, to]) => to! > from!).map(([from, to]) =>
      lane.newBatch(batch.partition, members.slice(from!, to!), values.slice(from, to))
    );
    const told = goneCount === 0
      ? []
      : [{ kind: "dropped" as const, reason: "invalid_record", lines: gone.heldLines() }];
    lane.replace(batch.id === null ? [] : [batch.id], told, made);
    if (goneCount === 0) return;
    this.#excuse(lane, values.slice(0, goneCount));
    gone.settle("rejected");
  }

  #excuse(lane: ModelLane, values: readonly string[]): void {
    for (const value of values) this.#world.excused.get(lane.sink.name)!.add(value);
  }

  /** Finds out what became of the oldest batch in doubt, and does what has to be done. */
  async #recover(lane: ModelLane, isReplacing: boolean): Promise<void> {
    const intent = lane.recovered.shift();
    if (intent === undefined) return;
    const { producer, id, partition } = intent;
    const key = keyOfBatch(lane.sink.name, producer.producerIdLow, producer.baseSequence);
    const settle = (lines: readonly HeldLines[]) =>
      lines.forEach(({ region, count }) => region.settle(count));
    if (this.#world.has(key)) {
      lane.intents!.acknowledge(id);
      return settle(intent.heldLines());
    }
    const { deliveries, gone } = await intent.rebuild();
    const members = new Membership();
    const values: string[] = [];
    for (const delivery of deliveries) {
      values.push(...valuesOf(delivery));
      members.addRange(delivery, 0, delivery.batch.count);
      delivery.take(delivery.batch.count);
    }
    const isSame = values.length === intent.count;
    if (isReplacing || !isSame) {
      const told = gone.length === 0 ? [] : [{ kind: "lost" as const, reason: "source_gone", lines: gone }];
      lane.replace([id], told, values.length === 0 ? [] : [lane.newBatch(partition, members, values)]);
      settle(gone);
    } else {
      const held = intent.heldLines();
      lane.batches.push({ partition, members, values, key, id, isDurable: true, held });
    }
  }

  /** The file was read to its end and is gone: it is forgotten once everything is delivered. */
  #rotate(index: number): void {
    const { positions } = this.#run.journal;
    const target = this.#world.files[index % this.#world.files.length]!;
    const { stream, content } = target;
    const hasAll = this.#run.lanes.every(({ offsets }) => offsets.get(stream.id) === content.length);
    // One that is not stored yet would not be found again after a crash.
    if (!hasAll || !this.#run.storedStreams.has(stream.id) || this.#world.files.length >= 6) return;
    target.isRotatedAway = true;
    positions.forgetWhenDelivered("app", stream.id, new Map(SINKS.map(({ name }) => [name, content.length])));
    if (this.#world.files.every(({ isRotatedAway }) => isRotatedAway)) this.#world.addFile();
    this.#run.announce();
  }

  /** A power cut took the end of a file, or somebody truncated it: reading goes on behind what is still the same. */
  #cutBack(index: number, chosen: number): void {
    const { positions } = this.#run.journal;
    const target = this.#world.files[index % this.#world.files.length]!;
    const { id } = target.stream;
    if (target.isRotatedAway || positions.record("app", id) === null) return;
    const endsOf = (name: string) => positions.marks("app", id, name).map(({ endOffset }) => endOffset);
    // A place that suits all: else lines in front of it would rightly come twice.
    const places = SINKS.flatMap(({ name }) => endsOf(name)).filter((offset) =>
      target.content[offset - 1] === NEWLINE && offset < target.content.length &&
      SINKS.every(({ name }) =>
        positions.knownEnd("app", id, name) <= offset || endsOf(name).includes(offset)
      )
    );
    const offset = places[chosen % places.length];
    if (offset === undefined) return;
    const gone = target.cut(offset);
    for (const lane of this.#run.lanes) {
      this.#excuse(lane, gone);
      positions.rewind("app", id, lane.sink.name, offset);
      if ((lane.offsets.get(id) ?? 0) > offset) lane.offsets.set(id, offset);
    }
  }

  async #step(): Promise<void> {
    this.#run.writer.step();
    await new Promise((resolve) => setImmediate(resolve));
  }

  async #crash(isPower: boolean, inCalls: number): Promise<void> {
    const { disk } = this.#world;
    // In the midst of what is under way, at a call of its own.
    disk.faults.set(disk.calls + inCalls, "crash");
    for (let i = 0; i < 5; i++) await this.#step();
    this.#checkTotals();
    const { journal, writer } = this.#run;
    this.#run.isDead = true;
    journal.positions.close();
    if (isPower && this.#durability === "machine") disk.powerCut();
    else disk.kill();
    writer.close();
    await this.#open();
    void journal.close(0).catch(() => {}); // it is gone already
  }

  async #open(): Promise<void> {
    this.#world.disk.faults.clear();
    await checkRestart(this.#world);
    this.#run = await ModelRun.open(this.#world, this.#durability);
  }

  async #close(): Promise<void> {
    const { journal, writer } = this.#run;
    this.#checkTotals();
    this.#run.isDead = true;
    this.#world.disk.faults.clear();
    let isClean: boolean | null = null;
    void journal.close(10_000).then((result) => isClean = result);
    await writer.until(() => isClean !== null);
    if (!isClean) throw new Error("The journal could not be closed");
    this.#world.disk.powerCut();
  }

  /** Everything goes out, and nothing is left. */
  async #finish(): Promise<void> {
    const { disk, files } = this.#world;
    disk.faults.clear();
    for (let round = 0;; round++) {
      if (round > 2_000) throw new Error("Delivery does not come to an end");
      let isBusy = false;
      for (const lane of this.#run.lanes) {
        while (lane.recovered.length > 0) await this.#recover(lane, round % 2 === 0);
        for (const each of files) {
          if (this.#run.journal.positions.record("app", each.stream.id) === null) continue;
          if (lane.read(each, this.#run.journal.positions, 1 << 20) > 0) isBusy = true;
        }
        while (lane.take());
        for (let p = 0; p < lane.sink.partitions; p++) lane.seal(p, 100);
        this.#run.commit();
        for (const batch of [...lane.batches]) {
          this.#send(lane, batch);
          this.#acknowledge(lane, batch);
        }
        if (lane.batches.length > 0) isBusy = true;
      }
      if (!isBusy) break;
      await this.#step();
      // A log whose disk refused waits before it tries again.
      if (round % 100 === 99) await Bun.sleep(5);
    }
    this.#checkTotals();
    checkEnd(this.#world, this.#run.journal.positions);
    await this.#close();
    await checkRestart(this.#world);
  }

  #checkTotals(): void {
    for (const { sink, batches, recovered } of this.#run.lanes) {
      if (!sink.isExact) continue;
      const live = new Map<number, number>();
      const add = (stream: number, count: number) => live.set(stream, (live.get(stream) ?? 0) + count);
      for (const { held } of batches) for (const { streamNumber, count } of held) add(streamNumber, count);
      for (const { id } of recovered) {
        for (const { streamNumber, lineCount } of this.#run.journal.content.live.get(id)!.intent.segments) {
          add(streamNumber, lineCount);
        }
      }
      const problems = wrongTotals(this.#run.journal.positions, sink.name, live);
      if (problems.length > 0) throw new Error(`Sink "${sink.name}": ${problems.join("; ")}`);
    }
  }
}

test(
  "After kills and power cuts every line is read again, in doubt, or done: in the end each has arrived once",
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          durability: fc.constantFrom<Durability>("machine", "process"),
          seed: fc.nat(),
          sectorBytes: fc.constantFrom(512, 4096),
          actions: fc.array(action, { minLength: 20, maxLength: 200, size: "max" }),
        }),
        async (it) => await new Model(it).run(it.actions),
      ),
      { numRuns: RUNS },
    );
  },
  240_000,
);
