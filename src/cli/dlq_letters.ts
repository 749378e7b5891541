import path from "node:path";
import type { Config, KafkaSinkConfig } from "../config/config.ts";
import type { StoredLetter } from "../event/dead_letters.ts";
import { readLetterFile } from "../dead_letter/letter_reader.ts";
import { ReplayMarks } from "../dead_letter/replay_marks.ts";
import { errnoName, StartError } from "../errors.ts";
import type { Log } from "../telemetry/log.ts";
import { readLetterTopic } from "./letter_topic.ts";

/** A sink that keeps dead letters, and where. */
export interface LetterPlace {
  readonly sink: KafkaSinkConfig;
  /** For messages: the file or the topic. */
  readonly name: string;
  readonly marks: ReplayMarks;
}

/** Where the sinks of a configuration keep dead letters; those of one sink where it is named. Throws StartError. */
export function letterPlaces(config: Config, name: string | null): LetterPlace[] {
  const sinks = config.sinks.filter((each) => name === null || each.name === name);
  if (sinks.length === 0 && name !== null) {
    const hint = `the sinks are: ${config.sinks.map((each) => `"${each.name}"`).join(", ")}`;
    throw new StartError("unknown-sink", `There is no sink "${name}" in the configuration`, hint, 1);
  }
  const keeping = sinks.flatMap((sink) => sink.type === "kafka" && sink.deadLetter !== null ? [sink] : []);
  if (keeping.length === 0) {
    throw new StartError(
      "no-dead-letters",
      name === null
        ? "No sink of the configuration keeps dead letters"
        : `Sink "${name}" keeps no dead letters`,
      'add, for example, dead_letter.file = "/var/lib/shipper/dead_letters.jsonl"',
      1,
    );
  }
  return keeping.map((sink) => {
    const place = sink.deadLetter!;
    if (place.kind === "topic") {
      const marks = path.join(config.dataDir, "dead_letters", `${sink.name}.replayed`);
      return { sink, name: `topic "${place.topic}"`, marks: new ReplayMarks(marks) };
    }
    const file = path.resolve(place.path);
    return { sink, name: `"${file}"`, marks: new ReplayMarks(`${file}.replayed`) };
  });
}

/** A letter of a place, with what is known of it beside. */
export interface PlacedLetter {
  readonly letter: StoredLetter;
  readonly isReplayed: boolean;
}

/**
 * The letters of a place, each id once, in the order of the file, or of each partition; of what is none `onBad` gets the place. There are none where the
 * file is missing. Throws StartError when it cannot be read.
 */
export async function* lettersOf(
  { sink, marks }: LetterPlace,
  log: Log,
  onBad: (where: string) => void,
): AsyncGenerator<PlacedLetter> {
  const seen = new Set<string>();
  const place = sink.deadLetter!;
  const letters = place.kind === "file"
    ? lettersOfFile(path.resolve(place.path), onBad)
    : readLetterTopic(sink, place.topic, log, onBad);
  for await (const letter of letters) {
    // Several sinks may share a place.
    if (letter.sink !== sink.name || seen.has(letter.id)) continue;
    seen.add(letter.id);
    yield { letter, isReplayed: marks.has(letter.id) };
  }
}

function* lettersOfFile(file: string, onBad: (where: string) => void): Generator<StoredLetter> {
  try {
    for (const found of readLetterFile(file)) {
      if ("badLine" in found) onBad(`line ${found.badLine}`);
      else yield found.letter;
    }
  } catch (error) {
    const why = errnoName(error);
    if (why === "ENOENT") return;
    if (error instanceof StartError || why === "UNKNOWN") throw error;
    throw new StartError("letters-unreadable", `Cannot read dead letters from "${file}" (${why})`, null, 1);
  }
}
