import { expect, test } from "bun:test";
import { Bench, numbered, until } from "../source/harness.ts";

// A file that was truncated before a byte of it was read (a full sink, a new file) was read on as if nothing had happened: what was lost was counted
// nowhere, and the fingerprint of what was gone stayed with the stream, so that the next start sent all of it again.

for (const text of [numbered("other", 40), numbered("other", 400)]) {
  test(
    `a file that was truncated before it was read, with ${text.length} bytes written anew, is another one`,
    async () => {
      await using bench = new Bench();
      const before = numbered("before", 500);
      bench.write("a.log", before);
      const run = await bench.start({ rooms: [0] });
      await until(() => run.store.records("app").some(({ fingerprintBytes }) => fingerprintBytes === 1_024));
      bench.write("a.log", text);
      const lines = text.trimEnd().split("\n");
      for (let count = 1; count <= 36; count++) {
        run.outlet.addRoom(1);
        await run.outlet.untilCount(count);
      }
      run.outlet.addRoom(1_000);
      await run.outlet.untilCount(lines.length);
      await run.stop();
      expect(run.outlet.texts).toEqual(lines);
      expect(run.metrics.truncationsCount).toBe(1);
      expect(run.metrics.lostBytes.total()).toBe(before.length);

      const again = await bench.start();
      bench.append("a.log", "last\n");
      await again.outlet.until(() => again.outlet.texts.includes("last"));
      await again.stop();
      expect(again.outlet.texts).toEqual(["last"]);
    },
    60_000,
  );
}
