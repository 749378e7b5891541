import { expect, test } from "bun:test";
import { camelCaseKeys, snakeCaseKeys } from "../../src/telemetry/json_keys.ts";

test("fields are renamed at any depth and back, names of reasons are not", () => {
  const inside = {
    addsUp: true,
    sinks: [{ inFlight: 1, dropped: { buffer_full: 2, oddName: 3 } }],
    dataDir: null,
  };
  const shown = {
    adds_up: true,
    sinks: [{ in_flight: 1, dropped: { buffer_full: 2, oddName: 3 } }],
    data_dir: null,
  };
  expect(snakeCaseKeys(inside)).toEqual(shown);
  expect(camelCaseKeys(shown)).toEqual(inside);
});
