import { describe, expect, test } from "bun:test";
import { describeExit, exitReport } from "../../src/cli/exit_report.ts";
import type { Config } from "../../src/config/config.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { KeptLog } from "../kafka/producer_harness.ts";

const config = {
  sources: [{ type: "file", name: "app" }, { type: "stdin", name: "in" }],
} as unknown as Config;
const good = { isOnce: false, hasFailed: false, isStored: true, isStdinStored: false };

/** Two sinks that delivered 10 and 5 events. */
function metrics(): Metrics {
  const made = new Metrics(0);
  made.sink("a").deliveredEventsCount = 10;
  made.sink("b").deliveredEventsCount = 5;
  return made;
}

function told(report: Parameters<typeof describeExit>[0]): KeptLog {
  const log = new KeptLog();
  describeExit(report, log);
  return log;
}

describe("exitReport", () => {
  test("all delivered: 0, and one line", () => {
    const report = exitReport(metrics(), config, good);
    expect(report).toMatchObject({
      exitCode: 0,
      deliveredCount: 15,
      droppedCount: 0,
      leftInFilesCount: 0,
      lostCount: 0,
    });
    expect(told(report).lines).toEqual([{
      level: "info",
      message: "Stopped",
      fields: { delivered: 15, dropped: 0 },
    }]);
  });

  test("what is left is safe in its file: 0, and said", () => {
    const some = metrics();
    some.sink("a").undelivered.add("app", 7);
    some.sink("b").undelivered.add("app", 3);
    const report = exitReport(some, config, { ...good, isOnce: true });
    expect(report).toMatchObject({ exitCode: 0, leftInFilesCount: 10, lostCount: 0 });
    expect(told(report).texts("warn")[0]).toContain("Up to 10 events");
  });

  test("what came from stdin and was not delivered is lost: 1", () => {
    const some = metrics();
    some.sink("a").undelivered.add("in", 4);
    const report = exitReport(some, config, good);
    expect(report).toMatchObject({ exitCode: 1, lostCount: 4, leftInFilesCount: 0 });
    expect(told(report).texts("error")[0]).toContain("Lost up to 4 events from stdin");
  });

  test("what came from a file on stdin is safe in it: 0", () => {
    const some = metrics();
    some.sink("a").undelivered.add("in", 4);
    const report = exitReport(some, config, { ...good, isStdinStored: true });
    expect(report).toMatchObject({ exitCode: 0, lostCount: 0, leftInFilesCount: 4 });
  });

  test("bytes that were gone before they could be read are lost: 1", () => {
    const some = metrics();
    some.source("app").lostBytes.add("truncated_unread", 20);
    const report = exitReport(some, config, good);
    expect(report).toMatchObject({ exitCode: 1, lostBytes: 20 });
    expect(told(report).texts("error")[0]).toContain("Lost 20 bytes of files");
  });

  test("files that this user may not read are 1 under --once only: later they may be readable", () => {
    const some = metrics();
    some.source("app").errors.add("EACCES");
    expect(exitReport(some, config, good)).toMatchObject({ exitCode: 0 });
    const report = exitReport(some, config, { ...good, isOnce: true });
    expect(report).toMatchObject({ exitCode: 1, refusedCount: 1 });
    expect(told(report).texts("error")[0]).toContain("some files could not be opened, each was named");
  });

  test("what was dropped is 1 under --once only: a shipper that runs for ever has counted it", () => {
    const some = metrics();
    some.sink("a").dropped.add("app\u0000buffer_full", 2);
    expect(exitReport(some, config, good)).toMatchObject({ exitCode: 0, droppedCount: 2 });
    expect(exitReport(some, config, { ...good, isOnce: true })).toMatchObject({
      exitCode: 1,
      droppedCount: 2,
    });
    expect(told(exitReport(some, config, good)).texts("warn")[0]).toContain("Dropped 2 events");
    const once = told(exitReport(some, config, { ...good, isOnce: true }));
    expect(once.texts("error")[0]).toContain("Dropped 2 events");
  });

  test("one event is told as one", () => {
    const some = metrics();
    some.sink("a").dropped.add("app\u0000buffer_full", 1);
    const warnings = told({ ...exitReport(some, config, good), deadLetteredCount: 1 }).texts("warn");
    expect(warnings[0]).toContain("Dropped 1 event: ");
    expect(warnings[1]).toContain("Kept 1 event as dead letters: ");
  });

  test("a run that failed is 1; positions that are not stored are no loss, and said", () => {
    expect(exitReport(metrics(), config, { ...good, hasFailed: true }).exitCode).toBe(1);
    const report = exitReport(metrics(), config, { ...good, isStored: false });
    expect(report.exitCode).toBe(0);
    expect(told(report).texts("warn")[0]).toContain("could not be stored");
  });
});
