import { isUtf8 } from "node:buffer";
import { Fate } from "../buffer/event_fates.ts";
import { checksumOf, type StoredEvents, type StoredOrigin } from "../buffer/stored_events.ts";
import { type ByteColumn, type EventBatch, eventOffset } from "../event/event_batch.ts";
import { BufferPool } from "../event/pooled_buffer.ts";
import { decodeHeaders } from "../event/record_headers.ts";
import { StartError } from "../errors.ts";
import type { ExportBufferArgs } from "./args.ts";
import { bufferFolders, readJournalIfGood, walkStored } from "./buffer_state.ts";
import { decoded, describeProblem } from "./buffer_verify.ts";
import { type CommandContext, commandLog, withConfig } from "./command_context.ts";
import { OutputError, OutputStream, type WriteSome, writeToStdout } from "./output_stream.ts";
import { readStoredState } from "./stored_state.ts";

const EXIT_DAMAGED = 1;
const NEWLINE = Buffer.from("\n");

/**
 * `shipper buffer export`: writes the events of a disk buffer to stdout, in order, as they were when the journal was read. Writes nothing else, and works
 * while a shipper runs. What is damaged is told on stderr and passed over. Returns the exit code: 1 when something was damaged.
 */
export async function exportBuffer(
  args: ExportBufferArgs,
  context: CommandContext,
  write: WriteSome = writeToStdout,
): Promise<number> {
  return await withConfig(args.configPaths, context, async (config) => {
    const [folder] = bufferFolders(config, args.sink);
    const { dataDir } = config;
    const content = args.all ? await readJournalIfGood(dataDir, context) : await readStoredState(dataDir);
    const out = new OutputStream(write);
    const writer = args.format === "json" ? new JsonEvents(out) : new LineEvents(out);
    const pool = new BufferPool();
    const log = commandLog(context);
    try {
      const { problemCount } = walkStored(folder!, dataDir, content, {
        onProblem: (problem) => log.error(`The buffer is damaged: ${describeProblem(problem)}`),
        onEvents(fates, stored, origin) {
          const { firstEvent, count } = stored;
          const fate = fates.of(firstEvent, count, () => checksumOf(stored));
          if (!args.all && fate.every((each) => each === Fate.DONE)) return;
          decoded(stored, pool, (batch) => {
            for (let i = 0; i < count; i++) {
              if (args.all || fate[i] !== Fate.DONE) writer.write(batch, i, fate[i]!, stored, origin);
            }
          });
        },
      });
      out.flush();
      return problemCount === 0 ? 0 : EXIT_DAMAGED;
    } catch (error) {
      if (!(error instanceof OutputError)) throw error;
      // "head" has seen enough.
      if (error.errno === "EPIPE") return 0;
      throw new StartError(
        "output-unwritable",
        `Cannot write to standard output (${error.errno}): the export is cut short`,
        "look at where it goes, and at the free space there",
        1,
      );
    }
  });
}

/** The value and a newline. */
class LineEvents {
  readonly #out: OutputStream;

  constructor(out: OutputStream) {
    this.#out = out;
  }

  write({ values: { data, starts, ends } }: EventBatch, index: number): void {
    this.#out.add(data, starts[index]!, ends[index]!);
    this.#out.add(NEWLINE, 0, 1);
  }
}

const FATE_NAMES = { [Fate.DONE]: "done", [Fate.WAITING]: "waiting", [Fate.OPEN]: "open" };

/** An object a line. */
class JsonEvents {
  readonly #out: OutputStream;

  constructor(out: OutputStream) {
    this.#out = out;
  }

  write(
    batch: EventBatch,
    index: number,
    fate: number,
    { firstEvent }: StoredEvents,
    { stream }: StoredOrigin,
  ): void {
    const { keys, headers, values, topics, topicIndexes } = batch;
    const event = {
      number: firstEvent + index,
      source: stream.source,
      file: stream.sourceType === "stdin" ? null : stream.path,
      offset: eventOffset(batch, index),
      received: new Date(batch.receivedMs).toISOString(),
      topic: topics[topicIndexes === null ? 0 : topicIndexes[index]!],
      state: FATE_NAMES[fate as keyof typeof FATE_NAMES],
      ...(keys === null ? { key: null } : bytesOf("key", keys, index)),
      ...(headers === null ? {} : { headers: headersOf(headers, index) }),
      ...bytesOf("value", values, index),
    };
    this.#out.text(`${JSON.stringify(event)}\n`);
  }
}

/** A list, because a name may be there twice. */
function headersOf({ data, starts, ends }: ByteColumn, index: number): Record<string, string>[] {
  return decodeHeaders(data.subarray(starts[index]!, ends[index]!)).map(([name, value]) => ({
    name,
    ...textOf("value", value),
  }));
}

/** `key: text`, or in base64 with `key_encoding` where it is no UTF-8. */
function bytesOf(name: string, { data, starts, ends }: ByteColumn, index: number): Record<string, string> {
  return textOf(name, data.subarray(starts[index]!, ends[index]!));
}

function textOf(name: string, bytes: Buffer): Record<string, string> {
  return isUtf8(bytes)
    ? { [name]: bytes.toString("utf8") }
    : { [name]: bytes.toString("base64"), [`${name}_encoding`]: "base64" };
}
