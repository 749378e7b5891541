const COMPRESSED = /\.(gz|bz2|xz|zst|lz4|lzma|zip|Z|br)$/;
/** What stands between a name and the number or date of its rotation. */
const ROTATION = /^[.\-_](\d[\w.:\-+]*|old|bak|prev)$/;

/**
 * Whether `name` is what rotation makes of `base`: "app.log" -> "app.log.1", "app.log-20240101", "app.log.old", and with the number in
 * front of the extension "app-2024-01-01.log", "app.1.log". Compressed files are not: their bytes are others.
 */
export function isRotatedName(base: string, name: string): boolean {
  if (name === base || COMPRESSED.test(name)) return false;
  if (name.startsWith(base) && ROTATION.test(name.slice(base.length))) return true;
  const dot = base.lastIndexOf(".");
  if (dot <= 0) return false;
  const stem = base.slice(0, dot);
  const extension = base.slice(dot);
  if (!name.startsWith(stem) || !name.endsWith(extension)) return false;
  return ROTATION.test(name.slice(stem.length, name.length - extension.length));
}

/** Larger numbers are older ("app.log.2" comes before "app.log.1"), later dates are newer. */
export function compareRotatedNames(a: string, b: string): number {
  const [numberA, numberB] = [rotationNumber(a), rotationNumber(b)];
  if (numberA !== null && numberB !== null) return numberB - numberA;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The number at the end of a name, or in front of its extension; null when it is a date. */
function rotationNumber(name: string): number | null {
  const digits = /\.(\d{1,5})(\.[A-Za-z]\w*)?$/.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}
