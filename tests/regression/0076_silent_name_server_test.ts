import { describe, expect, test } from "bun:test";
import { appendFileSync, writeFileSync } from "node:fs";
import { NameLookup } from "../../src/kafka/name_lookup.ts";
import { startShipper } from "../support/shipper.ts";
import { testIf } from "../support/skip.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Names of brokers were looked up on the runtime's thread pool, as many at a time as were wanted and again with each try. Where the name server was
// silent, each held a thread for ten seconds and more: files were read every ten seconds or so, for the sinks too that need no names.

/** A loopback address that nothing else uses. */
const SILENT = "127.93.64.76";
/** A lookup takes two seconds. */
const RESOLV_CONF = `nameserver ${SILENT}\nsearch .\noptions timeout:1 attempts:2\n`;
const HOSTS = ["a", "b", "c", "d"];
const LINES = 20;
const TIMEOUT_MS = 90_000;
/** In a DNS message the name that is asked for comes behind a header of this size, and the length of its first part. */
const NAME_AT = 13;
const isRoot = process.getuid?.() === 0;
const canMount = isRoot && Bun.spawnSync(["unshare", "-m", "true"]).exitCode === 0;

testIf(
  canMount,
  "needs root",
  "a silent name server is asked for one name at a time, and files are read",
  async () => {
    /** Names as they were asked for, each that follows itself once. */
    const asked: string[] = [];
    const nameServer = await Bun.udpSocket({
      hostname: SILENT,
      port: 53,
      socket: {
        data: (_socket, data) => {
          const host = String.fromCharCode(data[NAME_AT]!);
          if (asked.at(-1) !== host) asked.push(host);
        },
      },
    });
    await using dir = tempDir("names");
    writeFileSync(dir.file("resolv.conf"), RESOLV_CONF);
    writeFileSync(dir.file("a.log"), "");
    const brokers = HOSTS.map((each) => `"${each}.kafka.example.com:9092"`).join(", ");
    const config = `data_dir = "${dir.file("data")}"
[sources.in]
type = "file"
include = ["${dir.file("*.log")}"]
[sinks.far]
type = "kafka"
inputs = ["in"]
bootstrap_servers = [${brokers}]
topic = "logs"
connect_timeout_ms = 1000
[sinks.near]
type = "console"
inputs = ["in"]
encoding.codec = "text"
`;
    const mount = `mount --bind "${dir.file("resolv.conf")}" /etc/resolv.conf && exec "$@"`;
    const wrapper = ["unshare", "-m", "sh", "-c", mount, "sh"];
    await using shipper = startShipper({ config, wrapper, env: { UV_THREADPOOL_SIZE: "2" } });
    try {
      await shipper.waitForLog(/no answer from the name server within/, TIMEOUT_MS);
      for (let i = 0; i < LINES; i++) {
        appendFileSync(dir.file("a.log"), `line ${i}\n`);
        await waitUntil(`line ${i} is there`, () => shipper.stdout.includes(`line ${i}\n`), {
          timeoutMs: TIMEOUT_MS,
        });
      }
      await waitUntil("four lookups were made", () => asked.length >= HOSTS.length, {
        timeoutMs: TIMEOUT_MS,
      });
      // Two at a time would come back to the first, which asks again after a second.
      expect(asked.slice(0, HOSTS.length).sort()).toEqual(HOSTS);
    } finally {
      nameServer.close();
    }
  },
  600_000,
);

describe("names are looked up", () => {
  /** Lookups that end when they are told to. */
  function held() {
    const open = new Map<string, PromiseWithResolvers<string[]>>();
    let most = 0;
    return {
      look: (host: string) => {
        const asked = Promise.withResolvers<string[]>();
        open.set(host, asked);
        most = Math.max(most, open.size);
        return asked.promise.finally(() => open.delete(host));
      },
      async answer(host: string, answer: string[] | Error) {
        await waitUntil(`${host} is looked up`, () => open.has(host));
        const asked = open.get(host)!;
        if (answer instanceof Error) asked.reject(answer);
        else asked.resolve(answer);
      },
      isOpen: (host: string) => open.has(host),
      most: () => most,
    };
  }

  test("one at a time, whatever becomes of the one before; who asks again joins", async () => {
    const { look, answer, most } = held();
    const names = new NameLookup();
    const [a, again, b] = ["a", "a", "b"].map((host) => names.addresses(host, look));
    const failed = a!.catch((error: Error) => error.message);
    const joined = again!.catch((error: Error) => error.message);
    await answer("a", new Error("EAI_AGAIN"));
    expect(await failed).toBe("EAI_AGAIN");
    expect(await joined).toBe("EAI_AGAIN");
    await answer("b", ["192.0.2.2"]);
    expect(await b!).toEqual(["192.0.2.2"]);
    expect(most()).toBe(1);
    const next = names.addresses("a", look);
    await answer("a", ["192.0.2.1"]);
    expect(await next).toEqual(["192.0.2.1"]);
  });

  test("an answer that came late is there for the next try, once and not for long", async () => {
    const { look, answer, isOpen } = held();
    let nowMs = 0;
    const names = new NameLookup(() => nowMs);
    const first = names.addresses("a", look);
    nowMs = 20_000;
    await answer("a", ["192.0.2.1"]);
    expect(await first).toEqual(["192.0.2.1"]);
    await waitUntil("the lookup is over", () => !isOpen("a"));
    nowMs += 29_000;
    expect(await names.addresses("a", look)).toEqual(["192.0.2.1"]);
    for (const waitMs of [0, 31_000]) {
      nowMs += waitMs;
      const next = names.addresses("a", look);
      nowMs += 2_000;
      await answer("a", ["192.0.2.9"]);
      expect(await next).toEqual(["192.0.2.9"]);
      nowMs += 31_000;
    }
    const quick = names.addresses("a", look);
    await answer("a", ["192.0.2.7"]);
    expect(await quick).toEqual(["192.0.2.7"]);
    const anew = names.addresses("a", look);
    await answer("a", ["192.0.2.8"]);
    expect(await anew).toEqual(["192.0.2.8"]);
  });
});
