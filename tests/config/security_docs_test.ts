import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { renderDiagnostics } from "../../src/config/diagnostic_render.ts";
import { loadConfig } from "../../src/config/load.ts";

const DOCS = readFileSync(new URL("../../docs/security.md", import.meta.url), "utf8");
const HEAD = `data_dir = "/d"
[sources.app]
type = "file"
include = ["/x"]
[sinks.events]
type = "kafka"
inputs = ["app"]
bootstrap_servers = "kafka-1:9093"
topic = "logs"
`;
const ENV = { KAFKA_PASSWORD: "p", KEY_PASS: "k", CLIENT_SECRET: "s" };
const CONTEXT = { hostname: "edge-7", isRoot: true, home: "/root", xdgStateHome: undefined };

test("every example of docs/security.md is a configuration without a warning", () => {
  const examples = [...DOCS.matchAll(/```toml\n([\s\S]*?)```/gu)].map(([, text]) => text!);
  expect(examples.length).toBeGreaterThan(5);
  for (const text of examples) {
    const { diagnostics } = loadConfig([{ path: "x.toml", text: HEAD + text }], ENV, CONTEXT);
    expect(renderDiagnostics(diagnostics, { color: false }), text).toBe("");
  }
});

test("it names every code of TLS and logins that the program has", async () => {
  const codes = new Set<string>();
  const folder = new URL("../../src/kafka/", import.meta.url);
  for await (const path of new Bun.Glob("**/*.ts").scan({ cwd: folder.pathname })) {
    const text = readFileSync(new URL(path, folder), "utf8");
    for (const [, code] of text.matchAll(/"((?:tls|sasl|oauth|aws)-[a-z-]+)"/gu)) codes.add(code!);
  }
  expect(codes.size).toBeGreaterThan(15);
  for (const code of codes) expect(DOCS).toContain(`\`${code}\``);
});
