import { appendFileSync } from "node:fs";
import { crc32 } from "node:zlib";

/**
 * Lines that can be told apart and checked: `<run> <file> <seq> <crc32 of the rest> <payload>`. `rest` is the line without the CRC and
 * its space. A writer makes them, a checker takes what came out at the other end in any interleaving of files and partitions.
 */
export class OracleWriter {
  readonly run: string;
  readonly file: string;
  readonly #payloadBytes: number;
  #nextSeq = 0;
  #random: number;

  /** `run` and `file` must not hold spaces. Payloads have 0 to `payloadBytesMax` characters, from a generator seeded by run and file. */
  constructor(run: string, file: string, payloadBytesMax = 160) {
    if (/\s/.test(run + file)) {
      throw new Error(`Cannot use "${run}" and "${file}": no spaces are allowed in them`);
    }
    this.run = run;
    this.file = file;
    this.#payloadBytes = payloadBytesMax;
    this.#random = crc32(`${run} ${file}`) | 1;
  }

  /** Lines made so far. */
  get count(): number {
    return this.#nextSeq;
  }

  /** The next line, with its newline. */
  line(): string {
    return oracleLine(this.run, this.file, this.#nextSeq++, this.#payload()) + "\n";
  }

  /** The next `count` lines as one text. */
  lines(count: number): string {
    let text = "";
    for (let i = 0; i < count; i++) text += this.line();
    return text;
  }

  /** Appends the next `count` lines to a file, as one write. */
  append(path: string, count: number): void {
    appendFileSync(path, this.lines(count));
  }

  #payload(): string {
    // xorshift32: the same lines for the same run and file
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    const length = (x >>> 0) % (this.#payloadBytes + 1);
    const word = `GET /items/${x >>> 0} "quoted" \u00e4\u20ac `;
    return word.repeat(Math.ceil(length / word.length)).slice(0, length).trimEnd();
  }
}

/** One line, without newline. */
export function oracleLine(run: string, file: string, seq: number, payload: string): string {
  const head = `${run} ${file} ${seq}`;
  return `${head} ${crcText(`${head} ${payload}`)} ${payload}`;
}

function crcText(rest: string): string {
  return crc32(rest).toString(16).padStart(8, "0");
}

/** What is wrong with what came out. Lists hold at most `LISTED_MAX` examples, the counts are complete. */
export interface OracleReport {
  readonly receivedCount: number;
  readonly lostCount: number;
  readonly duplicatedCount: number;
  /** Pairs of records of one file in one partition whose numbers go down; repeats of a line count as duplicated only. */
  readonly outOfOrderCount: number;
  /** Lines of another run, of an unknown file, or with a number that was never written. */
  readonly foreignCount: number;
  /** Lines that do not have the form, or whose CRC is wrong. */
  readonly damagedCount: number;
  readonly examples: readonly string[];
}

const LISTED_MAX = 20;
const LINE = /^(\S+) (\S+) (\d+) ([0-9a-f]{8}) (.*)$/s;

interface FileState {
  /** How often each number came. */
  readonly seen: Uint8Array;
  /** Highest number so far, by partition. */
  readonly last: Map<number, number>;
}

/** Compares received lines with what the writers wrote. Memory: one byte a line. */
export class OracleChecker {
  readonly #run: string;
  readonly #files = new Map<string, FileState>();
  readonly #examples: string[] = [];
  #receivedCount = 0;
  #duplicatedCount = 0;
  #outOfOrderCount = 0;
  #foreignCount = 0;
  #damagedCount = 0;

  /** `writers` are asked for their counts now: make the checker after the last line was written. */
  constructor(run: string, writers: readonly Pick<OracleWriter, "file" | "count">[]) {
    this.#run = run;
    for (const { file, count } of writers) {
      this.#files.set(file, { seen: new Uint8Array(count), last: new Map() });
    }
  }

  /** Takes one received line, in the order of its partition. */
  take(partition: number, line: string): void {
    this.#receivedCount++;
    const match = LINE.exec(line);
    if (match === null) return void (this.#damagedCount++, this.#note("damaged", line));
    const [, run, file, seqText, crc, payload] = match as unknown as [
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    if (crcText(`${run} ${file} ${seqText} ${payload}`) !== crc) {
      return void (this.#damagedCount++, this.#note("damaged", line));
    }
    const state = this.#files.get(file);
    const seq = Number(seqText);
    if (run !== this.#run || state === undefined || seq >= state.seen.length) {
      return void (this.#foreignCount++, this.#note("foreign", line));
    }
    if (state.seen[seq]! > 0) {
      this.#duplicatedCount++;
      this.#note("duplicated", line);
      return;
    }
    state.seen[seq] = 1;
    const last = state.last.get(partition) ?? -1;
    if (seq < last) {
      this.#outOfOrderCount++;
      this.#note(`out of order in partition ${partition}, after ${last}`, line);
    } else {
      state.last.set(partition, seq);
    }
  }

  /** The verdict on all that was taken. */
  report(): OracleReport {
    let lostCount = 0;
    const examples = [...this.#examples];
    for (const [file, { seen }] of this.#files) {
      for (let seq = seen.indexOf(0); seq >= 0; seq = seen.indexOf(0, seq + 1)) {
        lostCount++;
        if (examples.length < LISTED_MAX) examples.push(`lost: ${this.#run} ${file} ${seq}`);
      }
    }
    return {
      receivedCount: this.#receivedCount,
      lostCount,
      duplicatedCount: this.#duplicatedCount,
      outOfOrderCount: this.#outOfOrderCount,
      foreignCount: this.#foreignCount,
      damagedCount: this.#damagedCount,
      examples,
    };
  }

  /** Throws with counts and examples unless everything arrived, whole and in order. Duplicates only when `duplicatesAllowed`. */
  assertComplete(options: { duplicatesAllowed?: boolean } = {}): OracleReport {
    const report = this.report();
    const { lostCount, duplicatedCount, outOfOrderCount, foreignCount, damagedCount } = report;
    const bad = lostCount + outOfOrderCount + foreignCount + damagedCount +
      (options.duplicatesAllowed ? 0 : duplicatedCount);
    if (bad > 0) throw new Error(`Not what was written: ${JSON.stringify(report, null, 2)}`);
    return report;
  }

  #note(what: string, line: string): void {
    if (this.#examples.length < LISTED_MAX) this.#examples.push(`${what}: ${line.slice(0, 120)}`);
  }
}
