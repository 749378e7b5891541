import type { StreamAccount } from "../event/tally.ts";
import { auditRun, discrepancyOf } from "./audit.ts";
import type { Exposition } from "./exposition.ts";
import { FAMILIES as F } from "./metric_families.ts";
import type { Metrics } from "./metrics.ts";

/** The account of the run as samples; `filesMax` pairs of (file, sink) have series of their own. */
export function addAudit(page: Exposition, metrics: Metrics, filesMax: number): void {
  for (const { sink, differences } of auditRun(metrics).sinks) {
    const difference = differences.reduce((sum, each) => sum + Math.abs(each.streams - each.sink), 0);
    page.add(F.auditDifference, [sink], difference);
  }
  const files: StreamAccount[] = [];
  for (const account of metrics.accounts()) {
    // Samples with the same labels are added up.
    page.add(F.auditMissing, [account.source, account.sink], discrepancyOf(account.tally));
    if (account.path !== null && account.path !== "" && account.tally.readCount > 0) files.push(account);
  }
  files.sort((a, b) => b.tally.readCount - a.tally.readCount);
  for (const { source, sink, path, tally } of files.slice(0, filesMax)) {
    page.add(F.fileReadEvents, [source, sink, path!], tally.readCount);
    page.add(F.fileAcknowledged, [source, sink, path!], tally.deliveredCount);
  }
}
