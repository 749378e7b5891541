import { expect, test } from "bun:test";
import { fileURLToPath } from "node:url";
import { comesFromTerminal } from "../../src/cli/terminal_signal.ts";

const MODULE = fileURLToPath(new URL("../../src/cli/terminal_signal.ts", import.meta.url));
const PROGRAM = `import { comesFromTerminal } from ${JSON.stringify(MODULE)};
console.log(["SIGINT", "SIGQUIT", "SIGWINCH", "SIGTERM", "SIGUSR1"].map(comesFromTerminal).join());`;

test("what a process without a terminal gets was sent to it alone", async () => {
  const child = Bun.spawn(["setsid", process.execPath, "-e", PROGRAM], { stdin: "ignore", stdout: "pipe" });
  expect(await new Response(child.stdout).text()).toBe("false,false,false,false,false\n");
});

test("in the foreground of a terminal, what keys and windows send has reached the whole group", async () => {
  let shown = "";
  const child = Bun.spawn([process.execPath, "-e", PROGRAM], {
    terminal: { data: (_terminal, bytes) => shown += Buffer.from(bytes).toString() },
  });
  await child.exited;
  for (let i = 0; i < 100 && !shown.includes("\n"); i++) await Bun.sleep(10);
  expect(shown.trim()).toBe("true,true,true,false,false");
});

test("a signal that no terminal sends is not asked about", () => {
  expect(comesFromTerminal("SIGTERM")).toBe(false);
});
