import { freePorts } from "../../scripts/lib/ports.ts";
import { waitUntil } from "../../tests/support/wait_until.ts";
import type { Bench, Input } from "./bench.ts";
import { Feed } from "./feed.ts";
import { readSeries, scrapePage } from "./metrics_page.ts";
import { type RunningTailer, startTailing } from "./running_shipper.ts";
import type { ShipperSetup } from "./shipper_config.ts";

const PARTITIONS = 3;
/** Lines that are written once; more of them repeat these. */
const UNIQUE_LINES = 1_000_000;
/** Of a line of the access log, about. */
const LINE_BYTES = 176;
/** The buffer may become so much larger than what is put into it. */
const ROOM_FACTOR = 1.5;
const ROOM_BYTES = 256e6;
/** Of what is buffered, on the disk: the buffer, and what lz4 leaves of it in the topic. */
const DISK_FACTOR = 1.7;
const TIMEOUT_MS = 60_000;
const DRAIN_TIMEOUT_MS_PER_GB = 120_000;

/** What goes into a buffer: an input, so many times. */
export interface Load {
  readonly input: Input;
  readonly times: number;
  readonly lines: number;
  readonly sizeBytes: number;
}

/** A load of about so many bytes. Throws when the disk has no room for it as buffer and topic. */
export function loadOf(bench: Bench, bytes: number): Load {
  bench.requireDisk(bytes * DISK_FACTOR, "--gigabytes");
  const lines = Math.max(1, Math.round(bytes / LINE_BYTES));
  const input = bench.input(Math.min(UNIQUE_LINES, lines));
  const times = Math.max(1, Math.round(bytes / input.sizeBytes));
  return { input, times, lines: input.lines * times, sizeBytes: input.sizeBytes * times };
}

/** With where the lines that came in are counted. */
type FedSetup = ShipperSetup & { readonly apiAddress: string };

/** A shipper that reads a feed, with a disk buffer in front of a topic of three partitions; lz4, all else at its default. */
export class BufferedShipper {
  readonly topic: string;
  readonly #bench: Bench;
  readonly #dir: string;
  readonly #feed: Feed;
  readonly #setup: FedSetup;
  #shipper: RunningTailer;

  private constructor(bench: Bench, dir: string, feed: Feed, setup: FedSetup) {
    this.#bench = bench;
    this.#dir = dir;
    this.#feed = feed;
    this.#setup = setup;
    this.topic = setup.topic;
    this.#shipper = startTailing(dir, setup, [], feed.readFd);
  }

  /** Starts it, with room in its buffer for `bytes`. The broker has to be there. */
  static async start(bench: Bench, bytes: number): Promise<BufferedShipper> {
    const kafka = await bench.kafka();
    const topic = await kafka.createTopic(PARTITIONS);
    const dir = bench.runDir();
    return new BufferedShipper(bench, dir, await Feed.open(dir), {
      bootstrap: kafka.bootstrap,
      topic,
      codec: "lz4",
      apiAddress: `127.0.0.1:${(await freePorts(1))[0]}`,
      diskBufferBytes: Math.ceil(bytes * ROOM_FACTOR + ROOM_BYTES),
    });
  }

  get pid(): number {
    return this.#shipper.pid;
  }

  requireRunning(): void {
    this.#shipper.requireRunning();
  }

  /** Feeds a load, and waits until shipper has all of it, wherever it is. */
  async take({ input, times, lines }: Load): Promise<void> {
    const before = await this.#eventsIn() ?? 0;
    await this.#feed.repeat(input, times);
    await waitUntil(`shipper has ${lines} lines`, async () => {
      this.requireRunning();
      return await this.#eventsIn() === before + lines;
    }, { timeoutMs: TIMEOUT_MS, pollMs: 100 });
  }

  /** Waits until the topic holds so many records and no more come. Throws when there are more, or when it takes too long. */
  async waitUntilDelivered(lines: number): Promise<void> {
    const kafka = await this.#bench.kafka();
    let count = 0;
    const timeoutMs = TIMEOUT_MS + DRAIN_TIMEOUT_MS_PER_GB * lines * LINE_BYTES / 1e9;
    await waitUntil(`${lines} lines are delivered`, async () => {
      this.requireRunning();
      count = await kafka.countRecords(this.topic);
      return count >= lines;
    }, { timeoutMs, pollMs: 200 });
    if (count !== lines) throw new Error(`shipper left ${count} records in the topic for ${lines} lines`);
  }

  kill(): Promise<void> {
    return this.#shipper.kill();
  }

  /** Starts it again, after `kill`. */
  startAgain(): void {
    this.#shipper = startTailing(this.#dir, this.#setup, [], this.#feed.readFd);
  }

  /** Ends it at once and removes all that it left. The broker has to be there. */
  async remove(): Promise<void> {
    await this.#shipper.kill();
    this.#feed.close();
    this.#bench.removeRunDir(this.#dir);
    await (await this.#bench.kafka()).deleteTopics([this.topic]);
  }

  async #eventsIn(): Promise<number | null> {
    const page = await scrapePage(this.#setup.apiAddress);
    return page === null ? null : readSeries(page, "shipper_sink_events_in_total");
  }
}
