import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { createServer } from "node:tls";
import { runCommand } from "../../scripts/lib/run_command.ts";
import { FakeBroker } from "../support/fake_broker.ts";
import { tempDir } from "../support/temp_dir.ts";
import { connectTo, failureOf } from "../kafka/support.ts";

test("a certificate for the canonical name alone: refused by the address, taken by its canonical name", async () => {
  await using dir = tempDir("canonical");
  const [key, crt] = [dir.file("key.pem"), dir.file("crt.pem")];
  await runCommand("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
    ...["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", crt],
  ], {});
  const broker = await FakeBroker.start();
  const server = createServer({ key: readFileSync(key), cert: readFileSync(crt) }, (client) => {
    const behind = connect({ host: "127.0.0.1", port: broker.port });
    client.on("error", () => behind.destroy()).pipe(behind);
    behind.on("error", () => client.destroy()).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const tls = { ca: crt, crt: null, key: null, keyPass: null, verifyHostname: true, serverName: null };
  try {
    const failure = await failureOf(connectTo(port, { tls }));
    expect(failure.message).toContain(`127.0.0.1:${port}`);
    expect(failure.code).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
    const connection = await connectTo(port, { tls, isCanonical: true });
    expect(connection.broker).toBe(`localhost:${port}`);
    connection.close();
    // What the cluster advertises is not looked up.
    const advertised = await failureOf(connectTo(port, { tls, isCanonical: true, advertised: true }));
    expect(advertised.code).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
  } finally {
    server.close();
    await broker.stop();
  }
});
