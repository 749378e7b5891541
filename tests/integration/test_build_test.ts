import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { runShipper, shipperTestBinary } from "../support/shipper.ts";

/** What tests/release/binary_test.ts proves to be absent from the binary that is shipped. */
describe("the test build", () => {
  test("has in it what the release has not", () => {
    const bytes = readFileSync(shipperTestBinary());
    for (const text of ["SHIPPER_CRASH_AT", "SHIPPER_TEST_FIRST_SEQUENCE", "SHIPPER_TEST_FILE_FAULTS"]) {
      expect(bytes.includes(text), text).toBe(true);
    }
  });

  test("is the same program when nothing is asked of it", async () => {
    const release = await runShipper({ args: ["--version"] });
    expect(await runShipper({ args: ["--version"], testBuild: true })).toEqual(release);
  });

  for (const name of ["SHIPPER_CRASH_AT", "SHIPPER_TEST_FIRST_SEQUENCE", "SHIPPER_TEST_FILE_FAULTS"]) {
    test(`refuses a ${name} that it cannot read`, async () => {
      const exit = await runShipper({ args: ["--version"], testBuild: true, env: { [name]: "nonsense" } });
      expect(exit).toMatchObject({ code: 1, stdout: "" });
      expect(exit.stderr).toContain(`Cannot read ${name}: `);
    });
  }
});
