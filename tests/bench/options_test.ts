import { expect, test } from "bun:test";
import { parseOptions } from "../../bench/lib/options.ts";

test("without words everything is left to the programs", () => {
  expect(parseOptions([])).toEqual({
    names: [],
    lines: null,
    rounds: null,
    seconds: null,
    gigabytes: null,
    codecs: null,
    out: null,
    rsyslog: false,
    help: false,
  });
});

test("names and options are read", () => {
  const words =
    "throughput idle --lines 5000 --rounds 2 --seconds 3 --gigabytes 10 --codecs lz4,zstd --out results --rsyslog";
  expect(parseOptions(words.split(" "))).toEqual({
    names: ["throughput", "idle"],
    lines: 5000,
    rounds: 2,
    seconds: 3,
    gigabytes: 10,
    codecs: ["lz4", "zstd"],
    out: "results",
    rsyslog: true,
    help: false,
  });
});

test.each([
  [["--lines", "0"], "--lines is a whole number from 1 to 100000000"],
  [["--rounds", "1.5"], "--rounds is a whole number"],
  [["--seconds", "x"], "--seconds is a whole number"],
  [["--codecs", "lz4,brotli"], '"brotli" is none'],
  [["--nonsense"], "--nonsense"],
])("wrong words are refused: %p", (argv, message) => {
  expect(() => parseOptions(argv)).toThrow(message);
});
