import { isUtf8 } from "node:buffer";
import type { Config } from "../config/config.ts";
import { encodeLetter } from "../dead_letter/letter_json.ts";
import { type StoredLetter } from "../event/dead_letters.ts";
import { StartError } from "../errors.ts";
import { countOf, formatBytes } from "../telemetry/format.ts";
import type { ListLettersArgs, ShowLetterArgs } from "./dlq_args.ts";
import { type CommandContext, commandLog, withConfig } from "./command_context.ts";
import { type LetterPlace, letterPlaces, lettersOf } from "./dlq_letters.ts";
import { printable } from "../telemetry/printable.ts";
import { textTable } from "./text_table.ts";

/** Letters that are listed for people; `--json` lists all. */
const LISTED_MAX = 1_000;

const COLUMNS = [
  { title: "ID" },
  { title: "TIME" },
  { title: "REASON" },
  { title: "SOURCE" },
  { title: "FILE" },
  { title: "OFFSET", isNumber: true },
  { title: "SIZE", isNumber: true },
  { title: "TOPIC" },
  { title: "STATE" },
];

/** What `--json` prints of a letter, without its bytes. */
interface ListedLetter {
  readonly id: string;
  readonly time: string;
  readonly sink: string;
  readonly reason: string;
  readonly error: string;
  readonly source: string;
  readonly file: string | null;
  readonly offset: number;
  readonly size: number;
  readonly topic: string | null;
  readonly replayed: boolean;
}

/** `shipper dlq ls`: the dead letters of the sinks, oldest first. Writes nothing, and works while a shipper runs. Returns the exit code. */
export async function listLetters(args: ListLettersArgs, context: CommandContext): Promise<number> {
  return await withConfig(args.configPaths, context, async (config) => {
    const places: { place: LetterPlace; letters: ListedLetter[] }[] = [];
    for (const place of letterPlaces(config, args.sink)) {
      places.push({ place, letters: await list(place, context) });
    }
    if (args.json) {
      const sinks = places.map(({ place, letters }) => ({
        sink: place.sink.name,
        ...placeOf(place),
        letters,
      }));
      context.stdout(`${JSON.stringify({ sinks }, null, 2)}\n`);
    } else for (const { place, letters } of places) context.stdout(listText(place, letters));
    return 0;
  }, hasTopicOfLetters);
}

/** Letters in a topic are read from brokers. */
function hasTopicOfLetters({ sinks }: Config): boolean {
  return sinks.some((sink) => sink.type === "kafka" && sink.deadLetter?.kind === "topic");
}

async function list(place: LetterPlace, context: CommandContext): Promise<ListedLetter[]> {
  const listed: ListedLetter[] = [];
  const letters = lettersOf(place, commandLog(context), (where) => tellBad(place, where, context));
  for await (const { letter, isReplayed } of letters) {
    listed.push({
      id: letter.id,
      time: new Date(letter.timeMs).toISOString(),
      sink: letter.sink,
      reason: letter.reason,
      error: letter.error,
      source: letter.stream.source,
      file: letter.stream.path === "" ? null : letter.stream.path,
      offset: letter.offset,
      size: letter.value.length,
      topic: letter.topic,
      replayed: isReplayed,
    });
  }
  return listed;
}

function placeOf({ sink: { deadLetter } }: LetterPlace): object {
  return deadLetter!.kind === "file" ? { file: deadLetter!.path } : { topic: deadLetter!.topic };
}

function listText({ sink, name }: LetterPlace, letters: readonly ListedLetter[]): string {
  const waitingCount = letters.filter(({ replayed }) => !replayed).length;
  const title = `Sink "${sink.name}", in ${printable(name)}: ${countOf(letters.length, "dead letter")}, ` +
    `${waitingCount} of them not replayed\n`;
  if (letters.length === 0) return title;
  const rows = letters.slice(0, LISTED_MAX).map((each) => [
    each.id,
    each.time,
    each.reason,
    each.source,
    each.file ?? "(stdin)",
    String(each.offset),
    formatBytes(each.size),
    each.topic ?? "(none)",
    each.replayed ? "replayed" : "waiting",
  ]);
  const more = letters.length - rows.length;
  return `${title}\n${textTable(COLUMNS, rows)}${more > 0 ? `and ${more} more: --json lists all\n` : ""}\n`;
}

/** `shipper dlq show`: one dead letter, whole. Returns the exit code. */
export async function showLetter(args: ShowLetterArgs, context: CommandContext): Promise<number> {
  return await withConfig(args.configPaths, context, async (config) => {
    for (const place of letterPlaces(config, args.sink)) {
      for await (const { letter, isReplayed } of lettersOf(place, commandLog(context), () => {})) {
        if (letter.id !== args.id) continue;
        context.stdout(args.json ? encodeLetter(letter) : letterText(letter, isReplayed));
        return 0;
      }
    }
    throw new StartError(
      "unknown-letter",
      `There is no dead letter "${args.id}"${args.sink === null ? "" : ` of sink "${args.sink}"`}`,
      "shipper dlq ls shows their ids",
      1,
    );
  }, hasTopicOfLetters);
}

function letterText(letter: StoredLetter, isReplayed: boolean): string {
  const { id, timeMs, sink, topic, reason, error, stream, offset, key, headers, value } = letter;
  const rows: [string, string][] = [
    ["id", id],
    ["time", new Date(timeMs).toISOString()],
    ["sink", sink],
    ["topic", topic ?? "(none)"],
    ["reason", reason],
    ["error", error],
    ["source", stream.source],
    ["file", stream.path === "" ? "(stdin)" : stream.path],
    ["stream", stream.id],
    ["offset", String(offset)],
    ["key", key === null ? "(none)" : shown(key)],
    ...headers.map(([name, bytes]): [string, string] => [`header ${name}`, shown(bytes)]),
    ["size", `${value.length} bytes`],
    ["state", isReplayed ? "replayed" : "waiting"],
  ];
  return `${rows.map(([name, text]) => `${name}: ${printable(text)}\n`).join("")}\n${shown(value)}\n`;
}

function shown(bytes: Buffer): string {
  return isUtf8(bytes) ? printable(bytes.toString()) : `(base64) ${bytes.toString("base64")}`;
}

/** Something at the place that is no letter. */
export function tellBad({ name }: LetterPlace, where: string, context: CommandContext): void {
  commandLog(context).warn(`What is at ${where} of ${name} is no dead letter, and passed over`, {
    hint: "a crash that cut it has its letter stored again behind it",
  });
}
