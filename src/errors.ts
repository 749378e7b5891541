/** Exit code for a start that the configuration or the host's state forbids (EX_CONFIG of sysexits.h). */
export const EXIT_CONFIG = 78;

/**
 * The process cannot start, and a person has to change something. `cli/` prints it as `error[code]: message` with the hint below and
 * ends with `exitCode`.
 */
export class StartError extends Error {
  override readonly name = "StartError";
  /** Short and stable, for example "data-dir-locked". */
  readonly code: string;
  /** Something that can be typed or checked; null when there is nothing useful to say. */
  readonly hint: string | null;
  readonly exitCode: number;

  constructor(code: string, message: string, hint: string | null = null, exitCode: number = EXIT_CONFIG) {
    super(message);
    this.code = code;
    this.hint = hint;
    this.exitCode = exitCode;
  }
}

/** The errno name of a system error ("ENOENT"), or "UNKNOWN" when it carries none. */
export function errnoName(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && code !== "" ? code : "UNKNOWN";
}
