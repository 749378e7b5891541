import { nearest } from "../config/suggest.ts";
import { commands, type CommandSpec, type FlagSpec } from "./commands.ts";

/** Ends with exit code 2. */
export interface UsageError {
  readonly command: "usage-error";
  readonly message: string;
  readonly hint: string;
}

export function usageError(message: string, hint: string): UsageError {
  return { command: "usage-error", message, hint };
}

/** For stderr, in the form of the diagnostics. */
export function renderUsageError(error: UsageError): string {
  return `error[usage]: ${error.message}\n = hint: ${error.hint}\n`;
}

/** Null when the value is one of the choices, or a list of them, or any value will do. */
export function checkChoices(flag: FlagSpec, value: string): UsageError | null {
  const { choices } = flag;
  if (choices === undefined) return null;
  const items = flag.isList === true ? value.split(",") : [value];
  for (const [index, item] of items.entries()) {
    if (!choices.includes(item)) return badChoice(flag, item);
    if (items.indexOf(item) !== index) {
      return usageError(`Flag "--${flag.name}" names "${item}" twice`, "name each kind once");
    }
  }
  return null;
}

function badChoice(flag: FlagSpec, value: string): UsageError {
  const near = nearest(value, flag.choices!);
  const list = flag.choices!.map((each) => `"${each}"`).join(", ");
  return usageError(
    `Flag "--${flag.name}" cannot be "${value}": expected one of ${list}`,
    near === null ? `write --${flag.name} ${flag.choices![0]}` : `did you mean "${near}"?`,
  );
}

/** A flag that this command does not have. */
export function unknownFlag(name: string, command: CommandSpec): UsageError {
  const owner = commands.find((each) => each.flags.some((flag) => `--${flag.name}` === name));
  if (owner !== undefined) {
    return usageError(
      `"shipper ${command.name}" has no flag "${name}"`,
      `it is a flag of "shipper ${owner.name}"`,
    );
  }
  const near = nearest(name, command.flags.map((each) => `--${each.name}`));
  return usageError(
    `There is no flag "${name}"`,
    near === null ? "shipper --help lists the flags" : `did you mean "${near}"?`,
  );
}
