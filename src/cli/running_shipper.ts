import path from "node:path";
import type { Config } from "../config/config.ts";
import { StartError } from "../errors.ts";
import { parseListenAddress } from "../http/listen_address.ts";
import type { LiveAudit } from "../telemetry/audit.ts";
import { camelCaseKeys } from "../telemetry/json_keys.ts";

/** An answer takes milliseconds; one that does not come is that of a process that hangs. */
const ANSWER_MAX_MS = 5_000;

/**
 * What the shipper that runs with this configuration's data_dir says of its run. Null when there is none to ask: no `[api]`, nobody answers
 * there, or it is another program or another data_dir. Throws `StartError` "no-answer" when a shipper listens and does not answer in time.
 */
export async function askRunning({ api, dataDir }: Config): Promise<LiveAudit | null> {
  const target = api === null ? null : parseListenAddress(api.address);
  // A port that the system chooses is not known here.
  if (target === null || (target.kind === "tcp" && target.port === 0)) return null;
  const url = target.kind === "tcp"
    ? `http://${hostOf(target.hostname)}:${target.port}/audit`
    : "http://localhost/audit";
  const unix = target.kind === "unix" ? { unix: target.path } : {};
  let answer: unknown;
  try {
    const response = await fetch(url, {
      ...unix,
      signal: AbortSignal.timeout(ANSWER_MAX_MS),
      redirect: "error",
    });
    if (!response.ok) return null;
    answer = camelCaseKeys(await response.json());
  } catch (error) {
    if ((error as Error).name !== "TimeoutError") return null;
    throw new StartError(
      "no-answer",
      `Cannot ask the running shipper: nothing was answered at "${api!.address}" within ${
        ANSWER_MAX_MS / 1000
      } s`,
      "look at the process that listens there",
      1,
    );
  }
  return isOurs(answer, dataDir) ? answer : null;
}

/** Another program may listen there, or a shipper with another data_dir. */
function isOurs(answer: unknown, dataDir: string): answer is LiveAudit {
  if (typeof answer !== "object" || answer === null) return false;
  const { dataDir: theirs, sinks, streams } = answer as Partial<LiveAudit>;
  return theirs === path.resolve(dataDir) && Array.isArray(sinks) && Array.isArray(streams);
}

/** Who listens on all addresses is asked on this machine's own. */
function hostOf(hostname: string): string {
  if (hostname === "0.0.0.0") return "127.0.0.1";
  if (hostname === "::") return "[::1]";
  return hostname.includes(":") ? `[${hostname}]` : hostname;
}
