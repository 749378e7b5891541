import { expect, test } from "bun:test";
import { join } from "node:path";
import { projectDir } from "../../scripts/lib/project.ts";
import { HangUps } from "../../src/cli/hang_up.ts";

test("without a terminal every SIGHUP asks for a reload", () => {
  const hangUps = new HangUps(() => false, false);
  expect([hangUps.take(), hangUps.take()]).toEqual(["reload", "reload"]);
});

test("with one, the first that comes when it is gone is its hang-up; others before and after ask for a reload", () => {
  for (const [wasIgnored, meaning] of [[false, "stop"], [true, "nothing"]] as const) {
    let isThere = true;
    const hangUps = new HangUps(() => isThere, wasIgnored);
    expect(hangUps.take()).toBe("reload");
    isThere = false;
    expect([hangUps.take(), hangUps.take()]).toEqual([meaning, "reload"]);
  }
});

test("nohup, as the system shows it", () => {
  const program = `console.log((await import(${
    JSON.stringify(join(projectDir, "src/cli/hang_up.ts"))
  })).isIgnored())`;
  const said = (before: string) => {
    const { stdout } = Bun.spawnSync(["sh", "-c", `${before} exec "$0" -e "$1"`, process.execPath, program]);
    return stdout.toString().trim();
  };
  expect([said("trap '' HUP;"), said("")]).toEqual(["true", "false"]);
});
