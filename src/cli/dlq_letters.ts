import path from "node:path";
import type { Config, KafkaSinkConfig } from "../config/config.ts";
import type { StoredLetter } from "../dead_letter/letter_json.ts";
import { readLetterFile } from "../dead_letter/letter_reader.ts";
import { ReplayMarks } from "../dead_letter/replay_marks.ts";
import { errnoName, StartError } from "../errors.ts";

/** A sink that keeps dead letters, and where. */
export interface LetterPlace {
  readonly sink: KafkaSinkConfig;
  /** The file, as it is shown. */
  readonly name: string;
  readonly marks: ReplayMarks;
}

/** Where the sinks of a configuration keep dead letters; those of one sink where it is named. Throws StartError. */
export function letterPlaces(config: Config, name: string | null): LetterPlace[] {
  const sinks = config.sinks.filter((each) => name === null || each.name === name);
  if (sinks.length === 0 && name !== null) {
    throw new StartError("unknown-sink", `There is no sink "${name}" in the configuration`, null, 1);
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
    const file = path.resolve(sink.deadLetter!.path);
    return { sink, name: file, marks: new ReplayMarks(`${file}.replayed`) };
  });
}

/** A letter of a place, with what is known of it beside. */
export interface PlacedLetter {
  readonly letter: StoredLetter;
  readonly isReplayed: boolean;
}

/**
 * The letters of a place, each id once, in the order of the file; of lines that are none `onBad` gets the number. There are none where the file is
 * missing. Throws StartError when it cannot be read.
 */
export function* lettersOf(
  { sink, name, marks }: LetterPlace,
  onBad: (line: number) => void,
): Generator<PlacedLetter> {
  const seen = new Set<string>();
  try {
    for (const found of readLetterFile(name)) {
      if ("badLine" in found) {
        onBad(found.badLine);
        continue;
      }
      const { letter } = found;
      // Several sinks may share a file.
      if (letter.sink !== sink.name || seen.has(letter.id)) continue;
      seen.add(letter.id);
      yield { letter, isReplayed: marks.has(letter.id) };
    }
  } catch (error) {
    const why = errnoName(error);
    if (why === "ENOENT") return;
    if (error instanceof StartError || why === "UNKNOWN") throw error;
    throw new StartError("letters-unreadable", `Cannot read dead letters from "${name}" (${why})`, null, 1);
  }
}
