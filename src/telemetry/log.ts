/**
 * What the stages log to. Messages are full sentences for operators, without a final period; ERROR means that data was lost or that a
 * human is needed. The implementation (pretty or JSON on stderr, rate-limited by message) is made in `cli/` and passed in.
 */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export type LogFields = Readonly<Record<string, string | number | boolean | null>>;
