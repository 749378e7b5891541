import { expect, test } from "bun:test";
import { shapeText } from "../shape/shape_text.ts";

// A number that a double cannot hold, or a text that looked like one, had all numbers of its line kept as they were written. So 1.0 was the key "1.0" in one
// line and "1" in the next, in two partitions; and as partition_field it named no partition.
test("a number is the same key and partition whatever stands beside it", () => {
  const beside = ["0", "12345678901234567890", "1e5", '"took: 1234567890123456"'];
  const numbers = { "1.0": "1", "1.50": "1.5", "-0.0": "0", "0.0000001": "1e-7", "2": "2", "3e0": "3e0" };
  const wanted = { "1.0": 1, "2": 2, "3e0": 3 } as Record<string, number>;
  for (const [number, key] of Object.entries(numbers)) {
    const lines = beside.map((other) => `{"k":${number},"other":${other}}\n`).join("");
    const setup = {
      decode: "json",
      codec: "json",
      onlyFields: ["k"],
      keyField: "k",
      partitionField: "k",
    } as const;
    const { keys, values, partitions } = shapeText(setup, lines);
    expect(keys).toEqual(beside.map(() => key));
    expect(values).toEqual(beside.map(() => `{"k":${key}}`));
    if (number in wanted) expect(partitions).toEqual(beside.map(() => wanted[number]!));
  }
});
