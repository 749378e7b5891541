import { expect, test } from "bun:test";
import { keyPartitioner } from "../../src/batch/partitioners.ts";
import { loadConfig } from "../../src/config/load.ts";

// partitioner = "fnv1a" of librdkafka was taken for ours, which spreads absent keys. librdkafka hashes them (rd_kafka_msg_partitioner_fnv1a): all
// of them are in one partition, that of an empty key.

const CONTEXT = { hostname: "h", isRoot: true, home: "/root", xdgStateHome: undefined };

test("librdkafka's fnv1a and fnv1a_random are what they are there", () => {
  const spreads = (name: string) => {
    const text =
      '[sources.a]\ntype = "file"\ninclude = ["/a.log"]\n[sinks.k]\ntype = "kafka"\ninputs = ["a"]\n' +
      `bootstrap_servers = "b:9092"\ntopic = "t"\nkey_field = "id"\nlibrdkafka_options = { partitioner = "${name}" }\n`;
    const { config } = loadConfig([{ path: "c.toml", text }], {}, CONTEXT);
    const [sink] = config!.sinks;
    if (sink?.type !== "kafka") throw new Error("there is no sink");
    return keyPartitioner(sink.partitioner)!.spreads;
  };
  expect([spreads("fnv1a"), spreads("fnv1a_random")]).toEqual(["none", "absent"]);
  // rd_fnv1a(NULL) is 0x7ee3623b, by librdkafka's own test.
  const { partition } = keyPartitioner("fnv1a_consistent")!;
  for (const count of [3, 7, 16]) expect(partition(Buffer.alloc(0), 0, 0, count)).toBe(0x7ee3623b % count);
});
