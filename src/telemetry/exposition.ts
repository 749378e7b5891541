import { printable } from "./printable.ts";
import type { Histogram } from "./metrics.ts";

/** What a scraper is told about the format. */
export const EXPOSITION_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export type FamilyType = "counter" | "gauge" | "histogram";

/** What a family of samples is; declared once, so that the page, its documentation and the tests have one source. */
export interface Family {
  /** Without the process standard names, "shipper_<thing>_<unit>", counters with "_total". */
  readonly name: string;
  readonly type: FamilyType;
  readonly help: string;
  /** Names of its labels, without "le". */
  readonly labels: readonly string[];
}

/**
 * Collects samples and renders the Prometheus text format. A scraper refuses a page on which the same labels come twice, so samples of
 * one family with the same labels are added up: two generations of a file can have the same path, two odd names can be the same in UTF-8.
 */
export class Exposition {
  readonly #families = new Map<Family, Map<string, number>>();

  /** `labels` in the order of `family.labels`. */
  add(family: Family, labels: readonly string[], value: number): void {
    if (labels.length !== family.labels.length) {
      throw new Error(
        `Cannot add to "${family.name}": it has ${family.labels.length} labels, got ${labels.length}`,
      );
    }
    this.#addTo(family, family.name, renderLabels(family.labels, labels), value);
  }

  addHistogram(family: Family, labels: readonly string[], histogram: Histogram): void {
    const names = [...family.labels, "le"];
    let count = 0;
    for (let i = 0; i < histogram.counts.length; i++) {
      count += histogram.counts[i]!;
      const bound = i < histogram.bounds.length ? String(histogram.bounds[i]) : "+Inf";
      this.#addTo(family, `${family.name}_bucket`, renderLabels(names, [...labels, bound]), count);
    }
    const own = renderLabels(family.labels, labels);
    this.#addTo(family, `${family.name}_sum`, own, histogram.sum);
    this.#addTo(family, `${family.name}_count`, own, count);
  }

  /** Families in the order in which they got their first sample; one without samples is left out. */
  render(): string {
    const parts: string[] = [];
    for (const [family, samples] of this.#families) {
      parts.push(`# HELP ${family.name} ${escapeHelp(family.help)}\n# TYPE ${family.name} ${family.type}\n`);
      for (const [sample, value] of samples) parts.push(`${sample} ${renderNumber(value)}\n`);
    }
    return parts.join("");
  }

  #addTo(family: Family, name: string, labels: string, value: number): void {
    let samples = this.#families.get(family);
    if (samples === undefined) this.#families.set(family, samples = new Map());
    const sample = name + labels;
    samples.set(sample, (samples.get(sample) ?? 0) + value);
  }
}

function renderLabels(names: readonly string[], values: readonly string[]): string {
  if (names.length === 0) return "";
  return `{${names.map((name, i) => `${name}="${escapeLabel(values[i]!)}"`).join(",")}}`;
}

/** A page may end on a terminal, and files can have any name: what a terminal obeys is written as text. */
function escapeLabel(value: string): string {
  return printable(value.toWellFormed()).replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll(
    "\n",
    "\\n",
  );
}

function escapeHelp(help: string): string {
  return help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function renderNumber(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return String(value);
}
