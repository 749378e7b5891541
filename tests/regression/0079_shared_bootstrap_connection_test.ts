import { afterEach, describe, expect, test } from "bun:test";
import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { cleanUp, start } from "../kafka/fake_cluster.ts";
import { until } from "../kafka/support.ts";

// The connection to a bootstrap server was closed when brokers were known from it, whatever else was asked over it at that moment: at a start the search
// for the coordinator of transactions, or the health check, failed with "was closed here", and was tried again after a pause.

afterEach(cleanUp);

const TIMEOUT_MS = 10_000;

describe("what is asked over a bootstrap connection while brokers become known is answered", () => {
  for (const [name, listed] of [["that no broker has", [2]], ["of a broker", [1, 2]]] as const) {
    test(`a bootstrap address ${name}`, async () => {
      const { kafka, cluster } = await start(2);
      kafka.listed = [...listed];
      const [bootstrap] = kafka.brokers;
      bootstrap!.on(ApiKey.DescribeProducers, ({ body }) => ({ body: Buffer.from(body), delayMs: 500 }));
      const asked = cluster.ask((connection) =>
        connection.request(ApiKey.DescribeProducers, 0, [Buffer.from("a")], { timeoutMs: TIMEOUT_MS })
      );
      asked.catch(() => {});
      await until(() => bootstrap!.countOf(ApiKey.DescribeProducers) === 1, "it is asked");
      await cluster.refresh([], "brokers");
      // Somebody wants the broker itself meanwhile.
      await cluster.connectionTo(listed[0]);
      expect((await asked).toString()).toBe("a");
      if (name === "that no broker has") {
        await until(() => bootstrap!.sockets.size === 0, "the bootstrap connection is closed");
      } else expect(bootstrap!.connectionsCount).toBe(1);
    });
  }
});
