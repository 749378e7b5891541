import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { writeAccessLog } from "../../bench/lib/access_log.ts";
import { tempDir } from "../support/temp_dir.ts";

const LINES = 12_000;

test("an access log has the wanted lines, of the wanted length, in the Combined Log Format", () => {
  using dir = tempDir("bench");
  const path = dir.file("a.log");
  const sizeBytes = writeAccessLog(path, LINES, "quoted");
  const text = readFileSync(path, "latin1");
  expect(text.length).toBe(sizeBytes);
  const lines = text.split("\n");
  expect(lines.pop()).toBe("");
  expect(lines).toHaveLength(LINES);
  expect(sizeBytes / LINES).toBeGreaterThan(174);
  expect(sizeBytes / LINES).toBeLessThan(178);
  const format =
    /^10\.\d+\.\d+\.\d+ - - \[\d\d\/\w{3}\/\d{4}:\d\d:\d\d:\d\d \+0000\] "[A-Z]+ \/\S* HTTP\/1\.1" \d{3} \d+ "[^"]+" "[^"]+"$/;
  expect(lines.filter((line) => !format.test(line))).toEqual([]);
});

test("the same arguments give the same bytes; other flavours differ in the quotes alone", () => {
  using dir = tempDir("bench");
  const write = (name: string, flavour: "quoted" | "plain") => {
    writeAccessLog(dir.file(name), LINES, flavour);
    return readFileSync(dir.file(name), "latin1");
  };
  const quoted = write("a", "quoted");
  expect(write("b", "quoted")).toBe(quoted);
  const plain = write("c", "plain");
  expect(plain).not.toMatch(/["\\]/);
  expect(plain).toBe(quoted.replaceAll('"', "'"));
});
