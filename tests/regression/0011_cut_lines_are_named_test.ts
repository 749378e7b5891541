// A line that was cut at max_line_bytes was counted, and the log said nothing: nobody knew which file it was in.
import { expect, test } from "bun:test";
import { LaneHarness } from "../lane_harness.ts";

test("the log names the file and the place of a line that was cut", () => {
  const harness = new LaneHarness({ maxLineBytes: 4 });
  harness.offer("abcd\r\nabcd\nabcdefgh\nx\nlonger\n");
  expect(harness.read()).toEqual(["abcd", "abcd", "abcd", "x", "long"]);
  expect(harness.log.texts("warn")).toEqual([
    'A line of "/var/log/app.log" at byte 11 is longer than 4 bytes and was cut there',
  ]);
  expect(harness.log.lines[0]!.fields).toMatchObject({ lines: 2 });
  // One without an end is named once, when it is cut.
  harness.offer("without end");
  harness.offer(" and more of it\nnext\n");
  expect(harness.log.texts("warn").slice(1)).toEqual([
    'A line of "/var/log/app.log" at byte 29 is longer than 4 bytes and was cut there',
  ]);
});
