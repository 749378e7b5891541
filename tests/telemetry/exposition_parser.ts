/** One sample of a page. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A family of a page with its samples. */
export interface ParsedFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: Sample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*/;
const NUMBER = /^(NaN|[+-]Inf|-?\d+(\.\d+)?(e[+-]?\d+)?)$/;

/**
 * Reads the Prometheus text format 0.0.4, and is stricter than a scraper: HELP and TYPE come once and first, samples belong to the
 * family above them, no labels come twice, counters end in "_total" and are not negative, histograms are whole and cumulative.
 */
export function parseExposition(text: string): Map<string, ParsedFamily> {
  if (!text.endsWith("\n")) throw new Error("The last line does not end");
  const families = new Map<string, ParsedFamily>();
  const seen = new Set<string>();
  let help: { name: string; text: string } | null = null;
  let family: ParsedFamily | null = null;
  for (const line of text.slice(0, -1).split("\n")) {
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (comment?.[1] === "HELP") {
      help = { name: comment[2]!, text: unescapeText(comment[3]!, false) };
    } else if (comment?.[1] === "TYPE") {
      const name = comment[2]!;
      if (help?.name !== name || families.has(name)) {
        throw new Error(`TYPE of "${name}" is not where it belongs`);
      }
      if (!["counter", "gauge", "histogram"].includes(comment[3]!)) {
        throw new Error(`Unknown type in "${line}"`);
      }
      families.set(name, family = { name, type: comment[3]!, help: help.text, samples: [] });
    } else {
      const sample = parseSample(line);
      const identity = JSON.stringify([sample.name, Object.entries(sample.labels).sort()]);
      if (seen.has(identity)) throw new Error(`Twice: ${line}`);
      seen.add(identity);
      if (family === null || !belongs(sample, family)) {
        throw new Error(`Stands below another family: ${line}`);
      }
      family.samples.push(sample);
    }
  }
  for (const each of families.values()) checkFamily(each);
  return families;
}

/** The value of one sample; throws when it is not there. */
export function valueOf(
  families: Map<string, ParsedFamily>,
  name: string,
  labels: Record<string, string> = {},
): number {
  const wanted = JSON.stringify(Object.entries(labels).sort());
  for (const family of families.values()) {
    for (const sample of family.samples) {
      if (sample.name === name && JSON.stringify(Object.entries(sample.labels).sort()) === wanted) {
        return sample.value;
      }
    }
  }
  throw new Error(`No sample ${name} ${wanted}`);
}

function belongs(sample: Sample, family: ParsedFamily): boolean {
  if (family.type !== "histogram") return sample.name === family.name;
  return ["_bucket", "_sum", "_count"].some((suffix) => sample.name === family.name + suffix);
}

function parseSample(line: string): Sample {
  const name = NAME.exec(line)?.[0];
  if (name === undefined) throw new Error(`No name: ${line}`);
  const labels: Record<string, string> = {};
  let rest = line.slice(name.length);
  if (rest.startsWith("{")) {
    rest = rest.slice(1);
    while (!rest.startsWith("}")) {
      const label = LABEL_NAME.exec(rest)?.[0];
      const quoted = label === undefined
        ? null
        : /^="((?:[^"\\]|\\.)*)"(,(?!\})|(?=\}))/s.exec(rest.slice(label.length));
      if (label === undefined || quoted === null || label in labels) throw new Error(`Bad labels: ${line}`);
      labels[label] = unescapeText(quoted[1]!, true);
      rest = rest.slice(label.length + quoted[0].length);
    }
    rest = rest.slice(1);
  }
  if (!rest.startsWith(" ") || !NUMBER.test(rest.slice(1))) throw new Error(`Bad value: ${line}`);
  return { name, labels, value: Number(rest.slice(1).replace("Inf", "Infinity")) };
}

function unescapeText(text: string, allowsQuote: boolean): string {
  return text.replace(/\\(.?)/gs, (_all, char: string) => {
    if (char === "\\") return "\\";
    if (char === "n") return "\n";
    if (char === '"' && allowsQuote) return '"';
    throw new Error(`Unknown escape "\\${char}"`);
  });
}

function checkFamily({ name, type, samples }: ParsedFamily): void {
  if (samples.length === 0) throw new Error(`"${name}" has no samples`);
  if ((type === "counter") !== name.endsWith("_total")) {
    throw new Error(`"${name}" is named wrongly for a ${type}`);
  }
  if (type === "counter" && samples.some(({ value }) => !(value >= 0))) {
    throw new Error(`"${name}" is negative`);
  }
  if (type === "histogram") checkHistogram(name, samples);
}

function checkHistogram(name: string, samples: readonly Sample[]): void {
  const series = new Map<
    string,
    { bounds: number[]; counts: number[]; count: number | null; hasSum: boolean }
  >();
  for (const sample of samples) {
    const { le, ...own } = sample.labels;
    const key = JSON.stringify(Object.entries(own).sort());
    const found = series.get(key) ?? { bounds: [], counts: [], count: null, hasSum: false };
    series.set(key, found);
    if (sample.name === `${name}_bucket`) {
      found.bounds.push(Number(le!.replace("Inf", "Infinity")));
      found.counts.push(sample.value);
    } else if (le !== undefined) throw new Error(`"${sample.name}" has a bound`);
    else if (sample.name === `${name}_count`) found.count = sample.value;
    else found.hasSum = true;
  }
  for (const { bounds, counts, count, hasSum } of series.values()) {
    const rises = (values: number[], strictly: boolean) =>
      values.every((value, i) => i === 0 || (strictly ? value > values[i - 1]! : value >= values[i - 1]!));
    if (!rises(bounds, true) || !rises(counts, false)) throw new Error(`"${name}" is not cumulative`);
    if (bounds.at(-1) !== Infinity || counts.at(-1) !== count || !hasSum) {
      throw new Error(`"${name}" is not whole`);
    }
  }
}
