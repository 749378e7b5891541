import { expect, test } from "bun:test";
import { manPage } from "../../scripts/lib/man_page.ts";
import { commands } from "../../src/cli/commands.ts";

test("the man page names every command and flag, and no line of it is a request by mistake", () => {
  const page = manPage("1.2.3", 1_700_000_000);
  const [title] = page.split("\n");
  expect(title).toBe('.TH SHIPPER 1 "2023-11-14" "shipper 1.2.3" "User Commands"');
  for (const { name, flags } of commands) {
    expect(page).toContain(`\n.SS ${name}\n`);
    for (const flag of flags) expect(page).toContain(`\\-\\-${flag.name.replaceAll("-", "\\-")}`);
  }
  const requests = new Set([...page.matchAll(/^\.(\S+)/gm)].map(([, request]) => request!));
  expect([...requests].sort()).toEqual(["B", "EE", "EX", "I", "PP", "SH", "SS", "TH", "TP", "br"]);
  expect(page).toContain(".SH EXIT STATUS\n.TP\n.B 0\n");
});
