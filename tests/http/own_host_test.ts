import { expect, test } from "bun:test";
import { parseListenAddress } from "../../src/http/listen_address.ts";
import { isOwnHost } from "../../src/http/own_host.ts";

const at = (address: string, header: string | null) => isOwnHost(header, parseListenAddress(address));

test("on a loopback address: addresses, localhost, and nothing that DNS can be made to say", () => {
  for (const address of ["127.0.0.1:8686", "127.9.9.9:1", "[::1]:8686", "localhost:8686"]) {
    for (
      const own of [
        null,
        "127.0.0.1:8686",
        "127.0.0.1",
        "[::1]:8686",
        "localhost:8686",
        "LOCALHOST",
        "a.localhost",
        "localhost.",
        "10.0.0.1",
      ]
    ) {
      expect([address, own, at(address, own)]).toEqual([address, own, true]);
    }
    for (
      const other of [
        "evil.example",
        "evil.example:8686",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "[::1].evil",
        "a b",
        "[evil",
      ]
    ) {
      expect([address, other, at(address, other)]).toEqual([address, other, false]);
    }
  }
});

test("elsewhere any name may be right", () => {
  for (
    const address of ["0.0.0.0:8686", "[::]:8686", "10.0.0.1:8686", "shipper.example:8686", "unix:/run/s"]
  ) {
    expect([address, at(address, "evil.example")]).toEqual([address, true]);
  }
});
