/** Figures for people. All of them take what a clock or a counter may give, negative values included. */

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** "0 B", "1.5 KiB", "12.0 MiB". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 1023.95 would be rounded to "1024.0".
  while (Math.abs(value) >= 1023.95 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${BYTE_UNITS[unit]}`;
}

/** "1,234,567": the same on every machine, whatever its locale. */
export function formatCount(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** What goes with a number: "event" for one, else "events". */
export function nounOf(count: number, one: string, many: string = `${one}s`): string {
  return count === 1 ? one : many;
}

/** "1 event", "1234 events"; with `many` "1 event waits", "2 events wait". */
export function countOf(count: number, one: string, many?: string): string {
  return `${count} ${nounOf(count, one, many)}`;
}

/** "0:07", "12:34", "1:02:03", "2 d 01:02:03". */
export function formatDuration(durationMs: number): string {
  const total = Math.max(0, Math.floor(durationMs / 1000));
  const two = (value: number) => String(value).padStart(2, "0");
  const days = Math.floor(total / 86_400);
  const hours = Math.floor(total / 3_600) % 24;
  const minutes = Math.floor(total / 60) % 60;
  const seconds = two(total % 60);
  if (days > 0) return `${days} d ${two(hours)}:${two(minutes)}:${seconds}`;
  return hours > 0 ? `${hours}:${two(minutes)}:${seconds}` : `${minutes}:${seconds}`;
}
