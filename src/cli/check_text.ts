import type { CheckResult } from "../check/check_result.ts";
import { countOf } from "../telemetry/format.ts";
import type { CheckReport } from "./check.ts";
import { printable } from "../telemetry/printable.ts";

const WORDS: Readonly<Record<CheckResult["status"], { readonly word: string; readonly color: string }>> = {
  ok: { word: "ok", color: "32" },
  warning: { word: "warning", color: "33" },
  failed: { word: "failed", color: "31" },
  skipped: { word: "skipped", color: "36" },
};
const WORD_WIDTH = Math.max(...Object.values(WORDS).map(({ word }) => word.length));

/**
 * For people: a line a check, its hint below it, and a line that sums up.
 *
 *     failed   [sinks.events] Topic "logs" is not there
 *              = hint: Create it ...
 */
export function checkText({ checks, counts, ok }: CheckReport, color: boolean): string {
  const lines = checks.map((each) => lineOf(each, color));
  const parts = [
    countOf(counts.failed, "check failed", "checks failed"),
    countOf(counts.warning, "warning"),
    `${counts.ok} ok`,
    ...(counts.skipped > 0 ? [`${counts.skipped} skipped`] : []),
  ];
  const summary = ok ? `Ready: ${parts.slice(1).join(", ")}` : parts.join(", ");
  return `${lines.join("")}${paint(summary, ok ? (counts.warning > 0 ? "33" : "32") : "31", color)}\n`;
}

function lineOf({ status, sink, source, message, hint }: CheckResult, color: boolean): string {
  const { word, color: code } = WORDS[status];
  const label = sink !== null ? `[sinks.${sink}] ` : source !== null ? `[sources.${source}] ` : "";
  const indent = " ".repeat(WORD_WIDTH + 2);
  const first = `${paint(word.padEnd(WORD_WIDTH), code, color)}  ${label}${printable(message)}\n`;
  return hint === null ? first : `${first}${indent}= hint: ${printable(hint)}\n`;
}

function paint(text: string, code: string, color: boolean): string {
  return color ? `\u001b[${code}m${text}\u001b[0m` : text;
}
