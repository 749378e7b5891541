import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { FakeProcess } from "../cli/fake_process.ts";
import { StateHarness } from "../cli/state_harness.ts";

// Under --once a file that had nothing new ended before the first look at all files was over. It was then taken for another file under the
// same path, and its own positions were forgotten: the run after that shipped it again from its start.
test("files that have nothing new keep their positions under --once, run after run", async () => {
  await using state = await StateHarness.start();
  const config = state.config();
  for (let i = 0; i < 8; i++) writeFileSync(state.dir.file(`${i}.log`), `line of ${i}\n`);
  for (let run = 0; run < 4; run++) {
    expect(await new FakeProcess().run(config, { once: true })).toBe(0);
    expect(state.kafka.values()).toHaveLength(8);
  }
}, 90_000);
