/** The dead letters of the sinks. */
export interface ListLettersArgs {
  readonly command: "dlq ls";
  readonly configPaths: readonly string[];
  /** Null: of all sinks. */
  readonly sink: string | null;
  readonly json: boolean;
}

export interface ShowLetterArgs {
  readonly command: "dlq show";
  readonly configPaths: readonly string[];
  readonly sink: string | null;
  /** Not empty. */
  readonly id: string;
  readonly json: boolean;
}

export interface ReplayLettersArgs {
  readonly command: "dlq replay";
  readonly configPaths: readonly string[];
  /** Not empty. */
  readonly sink: string;
  /** The topic that all go to; null: each to its own. */
  readonly to: string | null;
  readonly json: boolean;
}

/** From the flags of one of the commands, checked. */
export function letterArgs(
  command: "dlq ls" | "dlq show" | "dlq replay",
  configPaths: readonly string[],
  values: ReadonlyMap<string, string[]>,
): ListLettersArgs | ShowLetterArgs | ReplayLettersArgs {
  const one = (name: string) => values.get(name)?.[0] ?? null;
  const common = { configPaths, json: values.has("json") };
  if (command === "dlq ls") return { command, ...common, sink: one("sink") };
  if (command === "dlq show") return { command, ...common, sink: one("sink"), id: one("id")! };
  return { command, ...common, sink: one("sink")!, to: one("to") };
}
