/** @jsxImportSource hono/jsx (named here too: Bun reads tsconfig.json of the folder that it is started in) */
import { Hono } from "hono";
import { html } from "hono/html";
import { auditRun, type LiveAudit } from "../telemetry/audit.ts";
import { snakeCaseKeys } from "../telemetry/json_keys.ts";
import { EXPOSITION_CONTENT_TYPE } from "../telemetry/exposition.ts";
import { printableJson, printableLines } from "../telemetry/printable.ts";
import { readProcessFigures, renderPrometheus } from "../telemetry/prometheus.ts";
import type { Reload } from "../telemetry/metrics.ts";
import type { Status } from "../telemetry/status.ts";
import type { ApiOptions } from "./api.ts";
import { StatusPage } from "./status_page.tsx";

const JSON_TYPE = { "content-type": "application/json" };

/** Nothing may be loaded, run, framed or kept: the pages are made of text and one inline style. */
const HEADERS = {
  "content-security-policy":
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
};

export type AppOptions =
  & Pick<ApiOptions, "metrics" | "status" | "log" | "version" | "eventLoopLag" | "dataDir" | "pid">
  & {
    /** Whether a request with this Host is meant for this server. */
    readonly isOwnHost: (host: string | null) => boolean;
  };

/** The routes, without a listener. Reads figures only; keeps nothing of a request. */
export function createApp(options: AppOptions): Hono {
  const app = new Hono();
  app.use(async (c, next) => {
    for (const [name, value] of Object.entries(HEADERS)) c.header(name, value);
    if (!options.isOwnHost(c.req.raw.headers.get("host"))) {
      return c.json({ error: "This server has another name: ask for it by its address" }, 421);
    }
    if (c.req.method !== "GET" && c.req.method !== "HEAD") {
      return c.json({ error: "Only GET and HEAD are served here" }, 405, { allow: "GET, HEAD" });
    }
    return await next();
  });
  app.get("/health", (c) => {
    const { state, nowMs, startedMs, reload } = options.status();
    const health = {
      status: "ok",
      version: options.version,
      state,
      uptime_seconds: Math.max(0, nowMs - startedMs) / 1000,
      configuration: configuration(reload),
    };
    return c.body(jsonText(health), 200, JSON_TYPE);
  });
  app.get("/ready", (c) => {
    const status = options.status();
    return c.body(jsonText(readiness(status)), status.ready ? 200 : 503, JSON_TYPE);
  });
  app.get("/audit", (c) => c.body(jsonText(snakeCaseKeys(audit(options))), 200, JSON_TYPE));
  app.get("/metrics", (c) => c.body(metricsPage(options), 200, { "content-type": EXPOSITION_CONTENT_TYPE }));
  app.get("/", async (c) => {
    const page = await html`<!DOCTYPE html>${(
      <StatusPage status={options.status()} version={options.version} />
    )}`;
    return c.html(printableLines(String(page)));
  });
  app.notFound((c) => c.json({ error: "There are /, /health, /ready, /metrics and /audit" }, 404));
  app.onError((error, c) => {
    options.log.error(`Cannot answer a request to the API: ${error.message}`, {
      path: c.req.path.slice(0, 100),
    });
    return c.json({ error: "The request failed; the log has the reason" }, 500);
  });
  return app;
}

/** "current": the configuration that was read last is at work. What is not is no reason to end the process: see docs/reloading.md. */
function configuration(reload: Reload | null) {
  if (reload === null) return { state: "current", last_reload: null };
  const { result, atMs, failure } = reload;
  const why = failure === null ? {} : { message: failure.message, hint: failure.hint };
  return {
    state: failure === null ? "current" : result === "partly" ? "partly" : "rejected",
    last_reload: { result, at: new Date(atMs).toISOString(), ...why },
  };
}

/** Names of files are in it, and curl shows them on a terminal. */
function jsonText(value: unknown): string {
  return printableJson(JSON.stringify(value));
}

function readiness(status: Status) {
  return {
    ready: status.ready,
    state: status.state,
    journal: status.journal === null ? null : { failure: status.journal.failure },
    sinks: status.sinks.map(({ name, type, ready, cause, partitionsInDoubt }) => (
      { name, type, ready, cause, partitions_in_doubt: partitionsInDoubt }
    )),
  };
}

/** `shipper audit` reads it: `LiveAudit` of src/telemetry/audit.ts, with names in snake case. */
function audit({ metrics, dataDir, pid, version }: AppOptions): LiveAudit {
  return { version, dataDir: dataDir ?? null, pid: pid ?? null, ...auditRun(metrics) };
}

function metricsPage({ metrics, status, version, eventLoopLag }: AppOptions): string {
  const { sinks, nowMs } = status();
  return renderPrometheus(metrics, {
    version,
    nowMs,
    process: readProcessFigures(),
    eventLoopLag: eventLoopLag?.figures() ?? null,
    readyBySink: new Map(sinks.map(({ name, ready }) => [name, ready])),
  });
}
