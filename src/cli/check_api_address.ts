import { connect } from "node:net";
import { type CheckResult, found, passed, placeOf } from "../check/check_result.ts";
import { failureOf } from "../check/run_check.ts";
import type { Config } from "../config/config.ts";
import { errnoName, StartError } from "../errors.ts";
import { type ListenAddress, parseListenAddress } from "../http/listen_address.ts";
import { askRunning } from "./running_shipper.ts";

const CONNECT_MAX_MS = 2_000;

/** Whether `api.address` is free, or has the shipper with this data_dir behind it. Nothing is bound: that could end a shipper that starts now. */
export async function checkApiAddress(config: Config): Promise<readonly CheckResult[]> {
  const { api } = config;
  if (api === null) return [];
  const place = placeOf("api.address", { target: api.address });
  try {
    const address = parseListenAddress(api.address);
    if (address.kind === "tcp" && address.port === 0) {
      return [passed(place, `api.address "${api.address}" leaves the port to the system`)];
    }
    if (!await answers(address)) return [passed(place, `Nobody listens at api.address "${api.address}" yet`)];
    if (await askRunning(config) !== null) {
      return [passed(place, `The shipper that runs with this data_dir listens at "${api.address}"`)];
    }
    return [found(
      "failed",
      place,
      "EADDRINUSE",
      `api.address "${api.address}" is taken: another program listens there`,
      "Stop that program, or set api.address to another port",
    )];
  } catch (error) {
    if (error instanceof StartError) return [failureOf(place, "look at api.address", error)];
    throw error;
  }
}

/** Whether somebody takes connections there. */
function answers(address: ListenAddress): Promise<boolean> {
  return new Promise((resolve) => {
    const target = address.kind === "unix"
      ? { path: address.path }
      : { host: wildcardless(address.hostname), port: address.port };
    const socket = connect(target);
    const end = (does: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(does);
    };
    const timer = setTimeout(() => end(false), CONNECT_MAX_MS);
    socket.on("connect", () => end(true));
    socket.on("error", (error) => end(errnoName(error) === "EACCES"));
  });
}

/** Who listens on all addresses is asked on this machine's own. */
function wildcardless(hostname: string): string {
  return hostname === "0.0.0.0" ? "127.0.0.1" : hostname === "::" ? "::1" : hostname;
}
