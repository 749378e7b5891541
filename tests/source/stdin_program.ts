// Run by stdin_source_test.ts with different things as stdin: prints the lines, joined by "|".
import { StartError } from "../../src/errors.ts";
import { BufferPool } from "../../src/event/pooled_buffer.ts";
import { createStdinSource } from "../../src/source/stdin_source.ts";
import { SourceMetrics } from "../../src/telemetry/metrics.ts";
import { FakeOutlet } from "./fake_outlet.ts";
import { MemoryLog } from "./harness.ts";

const outlet = new FakeOutlet("out", null);
try {
  await createStdinSource({
    config: { type: "stdin", name: "in", maxLineBytes: 262_144, decoding: { codec: "text" } },
    outlets: [outlet],
    metrics: new SourceMetrics(),
    log: new MemoryLog(),
    pool: new BufferPool(),
  }).run(new AbortController().signal);
  process.stdout.write(outlet.texts.join("|"));
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  process.stdout.write(error.code);
  process.exitCode = error.exitCode;
}
