import { expect, test } from "bun:test";
import { OutputError, OutputStream } from "../../src/cli/output_stream.ts";

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

test("everything comes out in order, whatever the output takes at a time", () => {
  let written = "";
  let calls = 0;
  const out = new OutputStream((data, offset, length) => {
    if (++calls % 3 === 0) throw failure(calls % 2 === 0 ? "EAGAIN" : "EINTR");
    const taken = Math.min(length, 10_000);
    written += Buffer.from(data.subarray(offset, offset + taken)).toString();
    return taken;
  });
  const long = Buffer.from(Array.from({ length: 40_000 }, (_, i) => `${i},`).join(""));
  out.text("first\n");
  out.add(long, 2, long.length);
  out.text("last\n");
  expect(written.length).toBeGreaterThan(100_000);
  out.flush();
  expect(written).toBe(`first\n${long.subarray(2)}last\n`);
  const before = calls;
  out.flush();
  expect(calls).toBe(before);
});

test("an output that takes no more is an error of its own", () => {
  for (const code of ["EPIPE", "ENOSPC"]) {
    const out = new OutputStream(() => {
      throw failure(code);
    });
    out.text("x");
    let thrown: unknown;
    try {
      out.flush();
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(OutputError);
    expect((thrown as OutputError).errno).toBe(code);
  }
});
