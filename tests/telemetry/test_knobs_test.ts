import { afterEach, expect, test } from "bun:test";
import { armTestKnobs, fileFaults, firstSequence } from "../../src/telemetry/test_knobs.ts";

afterEach(() => armTestKnobs({}));

const FAULT = { op: "sync", path: "^/data/journal\\.\\d+$", error: "EIO", from: 3, count: 1 };

test("nothing is changed unless it is asked for", () => {
  expect(firstSequence()).toBe(0);
  expect(fileFaults()).toBeNull();
});

test("the first sequence is any that Kafka has", () => {
  for (const value of [0, 2_147_483_600, 2_147_483_647]) {
    armTestKnobs({ SHIPPER_TEST_FIRST_SEQUENCE: String(value) });
    expect(firstSequence()).toBe(value);
  }
  for (const text of ["2147483648", "-1", "1.5", "", "0x10", "1e3"]) {
    expect(() => armTestKnobs({ SHIPPER_TEST_FIRST_SEQUENCE: text }), text).toThrow(
      `Cannot read SHIPPER_TEST_FIRST_SEQUENCE: expected 0 to 2147483647, found "${text}"`,
    );
  }
});

test("faults are read with their pattern", () => {
  armTestKnobs({ SHIPPER_TEST_FILE_FAULTS: JSON.stringify([FAULT, { ...FAULT, op: "unlink", count: 9 }]) });
  const faults = fileFaults()!;
  expect(faults).toHaveLength(2);
  expect(faults[0]).toMatchObject({ op: "sync", error: "EIO", from: 3, count: 1 });
  expect(faults[0]!.path.test("/data/journal.7")).toBe(true);
  expect(faults[0]!.path.test("/data/journal.x")).toBe(false);
  expect(faults[1]).toMatchObject({ op: "unlink", count: 9 });
});

test("faults that cannot be read are refused", () => {
  const cases: [string, string][] = [
    ["{", "JSON"],
    ["{}", "it is not a list"],
    ["[7]", '"op" of fault 1'],
    ["[null]", '"op" of fault 1'],
    ...([
      ["op", "rename"],
      ["path", 7],
      ["error", "full"],
      ["from", 0],
      ["count", 1.5],
      ["after", 1],
    ] as const).map(([key, value]): [string, string] => [
      JSON.stringify([FAULT, { ...FAULT, [key]: value }]),
      `"${key}" of fault 2`,
    ]),
    [JSON.stringify([{ ...FAULT, path: "(" }]), "regular expression"],
  ];
  for (const [text, part] of cases) {
    const arm = () => armTestKnobs({ SHIPPER_TEST_FILE_FAULTS: text });
    expect(arm, text).toThrow("Cannot read SHIPPER_TEST_FILE_FAULTS: ");
    expect(arm, text).toThrow(part);
  }
});
