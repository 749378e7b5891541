import { createHash } from "node:crypto";
import type { KafkaSinkConfig } from "../config/config.ts";
import type { StoredLetter } from "../event/dead_letters.ts";
import { areHeaders, decodeHeaders } from "../event/record_headers.ts";
import { StartError } from "../errors.ts";
import { Cluster } from "../kafka/cluster.ts";
import { KafkaError } from "../kafka/errors.ts";
import { type LetterPart, readLetterRecord } from "../kafka/letter_records.ts";
import { errorInfo } from "../kafka/protocol/error_codes.ts";
import { ProtocolError } from "../kafka/protocol/wire.ts";
import { PartitionProbe } from "../kafka/resolve/partition_probe.ts";
import { fetchedBatches, readRecords } from "../kafka/transaction/record_codec.ts";
import type { Log } from "../telemetry/log.ts";

const FETCH_BYTES = 4 * 1_048_576;
const FETCH_WAIT_MS = 200;
/** A leader that gives nothing, although there is more, is asked so often. */
const EMPTY_MAX = 25;
/** Parts of letters that are not whole yet are kept up to this; what waits longest is given up. */
const PENDING_BYTES_MAX = 256 * 1_048_576;

/**
 * Reads a topic of dead letters, up to the end that each partition has when it is begun; of records that are none, and of letters whose parts are not
 * all there, `onBad` gets the place. Throws StartError when the topic cannot be read: READ and DESCRIBE are needed.
 */
export async function* readLetterTopic(
  sink: KafkaSinkConfig,
  topic: string,
  log: Log,
  onBad: (place: string) => void,
): AsyncGenerator<StoredLetter> {
  const cluster = new Cluster({ ...sink, clientId: sink.clientId ?? `shipper-${sink.name}`, log });
  try {
    await cluster.refresh([topic], "dead letters are read");
    const found = cluster.topic(topic);
    if (found === undefined || found.errorCode !== 0) throw refused(topic, found?.errorCode ?? -1);
    const letters = new LetterJoiner(onBad);
    for (const { id } of found.partitions) {
      yield* readPartition(cluster, topic, id, letters, onBad);
    }
    letters.end();
  } catch (error) {
    if (!(error instanceof KafkaError) && !(error instanceof ProtocolError)) throw error;
    const hint = error instanceof KafkaError ? error.hint : null;
    throw new StartError(
      "letters-unreadable",
      `Cannot read dead letters from topic "${topic}": ${error.message}`,
      hint,
      1,
    );
  } finally {
    cluster.close();
  }
}

async function* readPartition(
  cluster: Cluster,
  topic: string,
  partition: number,
  letters: LetterJoiner,
  onBad: (place: string) => void,
): AsyncGenerator<StoredLetter> {
  const probe = await PartitionProbe.open({ cluster, topic, partition });
  const endOffset = await probe.highWatermark();
  let nextOffset = await probe.logStart();
  for (let emptyCount = 0; nextOffset < endOffset && emptyCount < EMPTY_MAX;) {
    const { records } = await probe.fetch(nextOffset, FETCH_BYTES, FETCH_WAIT_MS);
    const fromOffset = nextOffset;
    const found: (StoredLetter | null)[] = [];
    for (const batch of fetchedBatches(records)) {
      nextOffset = Math.max(nextOffset, batch.endOffset);
      if (batch.isControl) continue;
      readRecords(batch, (offset, _key, value, headers) => {
        if (offset < fromOffset) return;
        const part = value === null ? null : readPart(headers, value);
        if (part === null) onBad(`offset ${offset} of partition ${partition}`);
        else found.push(letters.take(part));
      });
    }
    emptyCount = nextOffset > fromOffset ? 0 : emptyCount + 1;
    for (const letter of found) if (letter !== null) yield letter;
  }
}

function readPart(headers: Buffer, value: Buffer): LetterPart | null {
  // The memory of the answer is read into no more, but parts of it are kept for long.
  return areHeaders(headers, 0, headers.length)
    ? readLetterRecord(decodeHeaders(headers), Buffer.from(value))
    : null;
}

interface PendingLetter {
  readonly parts: Map<number, Buffer>;
  bytes: number;
}

/** Puts letters together that are in several records. Exported for tests. */
export class LetterJoiner {
  readonly #onBad: (place: string) => void;
  readonly #pending = new Map<string, PendingLetter>();
  #pendingBytes = 0;

  constructor(onBad: (place: string) => void) {
    this.#onBad = onBad;
  }

  /** The letter, when it is whole. */
  take({ letter, part, partCount, partBytes, checksum }: LetterPart): StoredLetter | null {
    if (partCount === 1) return letter;
    // A letter that was tried again in other parts, by the next run perhaps, is another one here.
    const key = `${letter.id} ${partCount} ${partBytes}`;
    const pending = this.#pending.get(key) ?? { parts: new Map(), bytes: 0 };
    this.#pending.set(key, pending);
    if (!pending.parts.has(part)) {
      pending.parts.set(part, letter.value);
      pending.bytes += letter.value.length;
      this.#pendingBytes += letter.value.length;
    }
    if (pending.parts.size < partCount) {
      this.#limit();
      return null;
    }
    this.#forget(key);
    const parts = Array.from({ length: partCount }, (_, i) => pending.parts.get(i));
    const value = parts.every((each) => each !== undefined) ? Buffer.concat(parts) : null;
    if (value !== null && createHash("sha256").update(value).digest("hex") === checksum) {
      return { ...letter, value };
    }
    this.#onBad(`letter ${letter.id}, whose ${partCount} parts do not fit together`);
    return null;
  }

  /** Nothing comes any more. */
  end(): void {
    for (const key of [...this.#pending.keys()]) this.#giveUp(key);
  }

  #limit(): void {
    while (this.#pendingBytes > PENDING_BYTES_MAX && this.#pending.size > 1) {
      this.#giveUp(this.#pending.keys().next().value!);
    }
  }

  #giveUp(key: string): void {
    const count = this.#pending.get(key)!.parts.size;
    this.#forget(key);
    this.#onBad(`letter ${key.split(" ")[0]}, of which ${count} of ${key.split(" ")[1]} parts are there`);
  }

  #forget(key: string): void {
    this.#pendingBytes -= this.#pending.get(key)!.bytes;
    this.#pending.delete(key);
  }
}

function refused(topic: string, errorCode: number): StartError {
  const { name, hint } = errorInfo(errorCode);
  const message = `Cannot read dead letters from topic "${topic}": the cluster answers ${name}`;
  return new StartError("letters-unreadable", message, hint, 1);
}
