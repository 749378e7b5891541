import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { FakeProcess } from "../cli/fake_process.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { tempDir } from "../support/temp_dir.ts";

// A signal that came while the journal was opened did not end the health check of --require-healthy, which began after it: shipper went on for up to 12 s,
// and then ended with exit code 78.

for (const name of ["SIGTERM", "SIGINT"] as const) {
  test(`${name} before the health check of --require-healthy ends it with exit code 0: nothing was read`, async () => {
    await using dir = tempDir("early");
    await using kafka = await FakeKafka.start(1, {});
    writeFileSync(dir.file("app.log"), "line\n");
    writeFileSync(
      dir.file("config.toml"),
      `data_dir = ${JSON.stringify(dir.file("data"))}
log.format = "json"
[sources.app]
type = "file"
include = [${JSON.stringify(dir.file("*.log"))}]
[sinks.events]
type = "kafka"
inputs = ["app"]
bootstrap_servers = ${JSON.stringify(kafka.bootstrapServers)}
topic = "missing"
`,
    );
    const host = new FakeProcess();
    host.onListening = () => queueMicrotask(() => host.signal(name));
    expect(await host.run(dir.file("config.toml"), { requireHealthy: true })).toBe(0);
    expect(host.logged("error")).toEqual([]);
    expect(host.exitCodes).toEqual([]);
    expect(kafka.attempts).toEqual([]);
    // Without a signal it is not healthy.
    expect(await new FakeProcess().run(dir.file("config.toml"), { requireHealthy: true })).toBe(78);
  });
}
