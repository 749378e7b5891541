// A run that was killed between the parts of a dead letter left its first part in the topic. The next one cut the letter into as many parts of another size
// (the limit was known by then, or the error's text was another one), and `shipper dlq` put the old first part and the new second one together: it was not shown.
import { expect, test } from "bun:test";
import { LetterJoiner } from "../../src/cli/letter_topic.ts";
import type { DeadLetter } from "../../src/event/dead_letters.ts";
import { decodeHeaders } from "../../src/event/record_headers.ts";
import { letterRecords, readLetterRecord } from "../../src/kafka/letter_records.ts";

const letter: DeadLetter = {
  reason: "record_too_large",
  error: "too large",
  stream: { id: "1:2:3", source: "app", path: "/var/log/app.log" },
  offset: 0,
  timeMs: 0,
  sink: "events",
  topic: "logs",
  key: null,
  headers: [],
  value: Buffer.from("0123456789"),
};

const parts = (valueBytesMax: number) =>
  letterRecords(letter, valueBytesMax).map(({ headers, value }) =>
    readLetterRecord(decodeHeaders(headers), Buffer.from(value))!
  );

test("parts of one letter that was cut in two ways are told apart", () => {
  const bad: string[] = [];
  const joiner = new LetterJoiner((place) => bad.push(place));
  const [oldFirst, oldSecond] = parts(6);
  const [newFirst, newSecond] = parts(7);
  expect(joiner.take(oldFirst!)).toBeNull();
  expect(joiner.take(newFirst!)).toBeNull();
  expect(joiner.take(newSecond!)?.value.toString()).toBe("0123456789");
  // A request that was late.
  expect(joiner.take(oldSecond!)?.value.toString()).toBe("0123456789");
  joiner.end();
  expect(bad).toEqual([]);
});
