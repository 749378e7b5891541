import { expect, test } from "bun:test";
import { appendFileSync, writeFileSync } from "node:fs";
import { DISK, linesOf, ls } from "../cli/buffer_harness.ts";
import { FakeProcess } from "../cli/fake_process.ts";
import { StateHarness } from "../cli/state_harness.ts";
import { until } from "../kafka/support.ts";

// A full buffer on disk took what still fitted into its current segment. What turned out too large for that made a segment more, whose room was then
// offered in its turn: batches of about the size of a segment let the files grow to several times buffer.max_size.
for (const whenFull of ["block", "drop_newest", "drop_oldest"]) {
  test(`the files of a full buffer take up no more than buffer.max_size, ${whenFull}`, async () => {
    await using state = await StateHarness.start();
    const config = state.config(["events"], {
      top: "shutdown_timeout_secs = 0.2",
      sink: `${DISK.replace("256MiB", "1MiB")}\nbuffer.when_full = "${whenFull}"`,
      isBrokerAway: true,
    });
    writeFileSync(state.dir.file("a.log"), "");
    const host = new FakeProcess();
    const running = host.run(config);
    await until(() => host.stderr.includes("Started"), "it runs");
    for (let written = 0; written < 20_000; written += 500) {
      const lines = linesOf(written, written + 500).map((line) => `${line} ${"x".repeat(200)}\n`);
      appendFileSync(state.dir.file("a.log"), lines.join(""));
      await Bun.sleep(10);
    }
    const [found] = await ls(state, config);
    expect(found!.events).toBeGreaterThan(1_000);
    expect(found!.fileBytes).toBeLessThanOrEqual(1024 * 1024);
    host.signal("SIGTERM");
    await running;
  }, 60_000);
}

// The room for an event was less than one of them took, as long as the buffer lived: it was full for good, although everything in it was delivered.
test("a buffer that is small for its events takes one after the other", async () => {
  await using state = await StateHarness.start();
  const config = state.config(["events"], {
    source: 'max_line_bytes = "1MiB"',
    sink: `${DISK.replace("256MiB", "1MiB")}\nmax_message_bytes = "2MiB"`,
  });
  const lines = Array.from({ length: 12 }, (_, i) => `${i} ${"x".repeat(900_000)}`);
  writeFileSync(state.dir.file("a.log"), lines.map((line) => `${line}\n`).join(""));
  const host = new FakeProcess();
  const running = host.run(config);
  await until(() => state.kafka.values().length === lines.length, "all are delivered");
  host.signal("SIGTERM");
  expect(await running).toBe(0);
  expect(state.kafka.values().map((value, i) => value === lines[i])).toEqual(lines.map(() => true));
}, 90_000);
