// A command that printed to a full disk ended with exit code 0, with nothing on the disk: `shipper generate > shipper.toml`.
import { expect, test } from "bun:test";
import { join } from "node:path";

const main = join(import.meta.dir, "../../main.ts");

/** What goes where `redirection` says. */
async function call(command: string, redirection: string): Promise<{ code: number; stderr: string }> {
  const script = `"$0" "$1" ${command} ${redirection}`;
  const child = Bun.spawn(["sh", "-c", script, process.execPath, main], { stdout: "ignore", stderr: "pipe" });
  const stderr = await new Response(child.stderr).text();
  return { code: await child.exited, stderr };
}

test("a command whose output does not fit says so", async () => {
  for (const command of ["generate", "schema", "--help"]) {
    expect(await call(command, ">/dev/full")).toEqual({
      code: 1,
      stderr:
        "error[output-unwritable]: Cannot write to standard output (ENOSPC): what was printed is not whole\n" +
        " = hint: look at where it goes, and at the free space there\n",
    });
  }
}, 30_000);

test("a reader that has seen enough is no failure", async () => {
  expect(await call("schema", "| true")).toEqual({ code: 0, stderr: "" });
}, 30_000);
