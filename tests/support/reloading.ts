import { writeFileSync } from "node:fs";
import type { Shipper } from "./shipper.ts";
import { waitUntil } from "./wait_until.ts";

/** What it says at one of its addresses. */
export async function ask(shipper: Shipper, path: string): Promise<string> {
  const [, address] = await shipper.waitForLog(/Listening on ([\d.:]+)/);
  return await (await fetch(`http://${address}${path}`)).text();
}

/** How many reloads have come to their end. */
export async function reloadCount(shipper: Shipper): Promise<number> {
  const counts = (await ask(shipper, "/metrics")).matchAll(/^shipper_config_reloads_total\{.*\} (\d+)$/gmu);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** Has it read this configuration, and waits until it has come to a result. */
export async function reload(shipper: Shipper, text: string): Promise<void> {
  const count = await reloadCount(shipper);
  writeFileSync(shipper.configPath, text);
  shipper.signal("SIGHUP");
  await waitUntil("the reload has ended", async () => await reloadCount(shipper) > count).catch((error) => {
    throw new Error(`${error.message}\n${shipper.stderr.slice(-4_000)}`);
  });
}
