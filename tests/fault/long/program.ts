import { createHash } from "node:crypto";
import type { OracleReport, OracleWriter } from "../../support/oracle.ts";
import { OracleChecker } from "../../support/oracle.ts";
import type { TestKafka } from "../../support/kafka.ts";
import { Random } from "../../support/seed.ts";
import type { Shipper, ShipperExit } from "../../support/shipper.ts";
import { waitUntil } from "../../support/wait_until.ts";

/** A fault test that takes too long for scripts/test. It throws when something is not as it has to be. */
export interface FaultProgram {
  readonly name: string;
  /** What is done, for the list and the kept results. */
  readonly title: string;
  /** Why it cannot run on this machine; null when it can. */
  readonly needs?: () => string | null;
  /** Returns what was seen beyond the counts. */
  run(run: FaultRun): Promise<string>;
}

/** What the reader found, added up over all checks of a program. */
export interface Counts {
  writtenCount: number;
  lostCount: number;
  duplicatedCount: number;
  outOfOrderCount: number;
}

/** What may be wrong with what arrived, because the fault itself makes it so. */
export interface Allowance {
  readonly lostMax?: number;
  readonly duplicatedMax?: number;
  readonly outOfOrderMax?: number;
  readonly damagedMax?: number;
}

const CATCH_UP_MS = 120_000;

/** One run of a program. */
export class FaultRun {
  readonly random: Random;
  readonly seed: number;
  /** Waits are as short as makes sense. */
  readonly isQuick: boolean;
  /** For `mix` alone. */
  readonly durationMs: number;
  readonly log: (message: string) => void;
  readonly counts: Counts = { writtenCount: 0, lostCount: 0, duplicatedCount: 0, outOfOrderCount: 0 };
  readonly #shared: () => Promise<TestKafka>;

  constructor(options: {
    readonly name: string;
    readonly seed: number;
    readonly isQuick: boolean;
    readonly durationMs: number;
    readonly log: (message: string) => void;
    readonly shared: () => Promise<TestKafka>;
  }) {
    this.seed = options.seed;
    // Each program draws the same numbers, whichever others run with it.
    const salt = createHash("sha256").update(options.name).digest().readUInt32BE(0);
    this.random = new Random((options.seed ^ salt) >>> 0);
    this.isQuick = options.isQuick;
    this.durationMs = options.durationMs;
    this.log = options.log;
    this.#shared = options.shared;
  }

  /** The broker that programs share which do not hurt it; it has a PROXIED listener. */
  shared(): Promise<TestKafka> {
    return this.#shared();
  }

  /** Compares a topic with what was written. Throws unless it is exact, or wrong only within `allowance`. */
  async check(
    kafka: TestKafka,
    topic: string,
    writers: readonly OracleWriter[],
    allowance: Allowance = {},
  ): Promise<OracleReport> {
    const checker = new OracleChecker(writers[0]!.run, writers);
    await kafka.scanTopic(topic, (record) => checker.take(record.partition, String(record.value)));
    const report = checker.report();
    const { counts } = this;
    counts.writtenCount += writers.reduce((sum, writer) => sum + writer.count, 0);
    counts.lostCount += report.lostCount;
    counts.duplicatedCount += report.duplicatedCount;
    counts.outOfOrderCount += report.outOfOrderCount;
    const { lostMax = 0, duplicatedMax = 0, outOfOrderMax = 0, damagedMax = 0 } = allowance;
    const isFine = report.lostCount <= lostMax && report.duplicatedCount <= duplicatedMax &&
      report.outOfOrderCount <= outOfOrderMax && report.damagedCount <= damagedMax &&
      report.foreignCount === 0;
    if (!isFine) throw new Error(`Not what was written: ${JSON.stringify(report, null, 1)}`);
    return report;
  }

  /** Waits until a topic holds `count` records; a shipper that is named tells why not. */
  async waitForCount(kafka: TestKafka, topic: string, count: number, shipper?: Shipper): Promise<void> {
    let seen = 0;
    await waitUntil(`${count} records`, async () => (seen = await kafka.countRecords(topic)) >= count, {
      timeoutMs: CATCH_UP_MS,
      pollMs: 100,
    }).catch((error: Error) => {
      throw new Error(`${error.message}; there are ${seen}\n${shipper?.stderr.slice(-4_000) ?? ""}`);
    });
  }
}

/** Ends a shipper in order and makes sure that it says so. */
export async function stopInOrder(shipper: Shipper): Promise<ShipperExit> {
  shipper.signal("SIGTERM");
  return requireExit(await shipper.waitForExit(60_000), 0);
}

/** Throws with the end of the log unless it ended with `code`. */
export function requireExit(exit: ShipperExit, code: number | "SIGKILL"): ShipperExit {
  if ((code === "SIGKILL" ? exit.signal : exit.code) === code) return exit;
  throw new Error(`It ended with ${exit.code ?? exit.signal} and not ${code}\n${exit.stderr.slice(-4_000)}`);
}

/** Throws unless it holds. */
export function require(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

export const isRoot = process.getuid?.() === 0;
export const isLinux = process.platform === "linux";

/** Why a program that needs a command cannot run, or null. */
export function needsCommand(command: string): string | null {
  return Bun.which(command) === null ? `needs ${command}` : null;
}
