// Signals were listened to only when the pipeline ran: one that came before, for up to 12 s under --require-healthy, killed the process
// as if nobody handled it (exit by signal instead of code 0).
import { expect, test } from "bun:test";
import { sharedCluster } from "../support/kafka.ts";
import { startProxy } from "../support/proxy.ts";
import { filesToKafka } from "../support/scenario.ts";
import { startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";

test(
  "SIGTERM during the health check of --require-healthy ends it with exit code 0: nothing was read",
  async () => {
    const kafka = await sharedCluster();
    await using dir = tempDir("checking");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    proxy.setFault({ stall: ["response"] });
    const config = filesToKafka(dir, { bootstrap: proxy.address, topic: "any" });
    await using shipper = startShipper({ config, args: ["--require-healthy"] });
    await shipper.waitForLog(/Started shipper/);
    const startMs = performance.now();
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit()).toMatchObject({ code: 0, signal: null });
    expect(performance.now() - startMs).toBeLessThan(8_000);
  },
  120_000,
);
