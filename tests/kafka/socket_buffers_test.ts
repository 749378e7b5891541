import { FFIType, ptr } from "bun:ffi";
import { afterEach, describe, expect, test } from "bun:test";
import { connect, createServer, type Server, type Socket } from "node:net";
import { SocketBuffers } from "../../src/kafka/socket_buffers.ts";
import { openLibc } from "../../src/libc.ts";
import { FakeBroker } from "../support/fake_broker.ts";
import { connectTo, silentLog } from "./support.ts";
import { KeptLog } from "./producer_harness.ts";

const SOL_SOCKET = 1;
const SIZES = { SO_SNDBUF: 7, SO_RCVBUF: 8 } as const;

let server: Server | null = null;
afterEach(() => void server?.close());

async function connected(): Promise<Socket> {
  server = createServer(() => {});
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return await new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port }, () => resolve(socket));
  });
}

/** What the kernel says of a socket. */
function sizeOf(socket: Socket, name: keyof typeof SIZES): number {
  const { i32, ptr: pointer } = FFIType;
  const libc = openLibc({ getsockopt: { args: [i32, i32, i32, pointer, pointer], returns: i32 } })!;
  const value = new Int32Array(1);
  const length = new Int32Array([4]);
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  expect(libc.symbols.getsockopt(fd, SOL_SOCKET, SIZES[name], ptr(value), ptr(length))).toBe(0);
  return value[0]!;
}

describe("on Linux", () => {
  test("sets what is wanted, and leaves the rest to the system", async () => {
    const plain = await connected();
    const system = { send: sizeOf(plain, "SO_SNDBUF"), receive: sizeOf(plain, "SO_RCVBUF") };
    plain.destroy();
    for (const [sendBytes, receiveBytes] of [[40_000, 0], [0, 50_000], [40_000, 50_000], [0, 0]] as const) {
      const socket = await connected();
      const log = new KeptLog();
      new SocketBuffers({ sendBytes, receiveBytes }, log).apply(socket);
      // The kernel doubles what it is told, for its own needs: socket(7).
      expect(sizeOf(socket, "SO_SNDBUF")).toBe(sendBytes === 0 ? system.send : 2 * sendBytes);
      expect(sizeOf(socket, "SO_RCVBUF")).toBe(receiveBytes === 0 ? system.receive : 2 * receiveBytes);
      expect(log.lines).toEqual([]);
      socket.destroy();
    }
  });

  test("every connection to a broker has them", async () => {
    const broker = await FakeBroker.start();
    const applied: Socket[] = [];
    class Kept extends SocketBuffers {
      override apply(socket: Socket): void {
        super.apply(socket);
        applied.push(socket);
      }
    }
    const socketBuffers = new Kept({ sendBytes: 30_000, receiveBytes: 20_000 }, silentLog);
    const connection = await connectTo(broker.port, { socketBuffers });
    expect(applied.map((socket) => [sizeOf(socket, "SO_SNDBUF"), sizeOf(socket, "SO_RCVBUF")])).toEqual([
      [60_000, 40_000],
    ]);
    connection.close();
    await broker.stop();
  });

  test("a socket without a descriptor is told of", () => {
    const log = new KeptLog();
    new SocketBuffers({ sendBytes: 1, receiveBytes: 0 }, log).apply({} as Socket);
    expect(log.texts("warn")).toEqual([
      "Cannot set the sizes of a connection's socket buffers: it has the system's",
    ]);
  });
});

test("elsewhere, one warning, and nothing is done; none where nothing is wanted", async () => {
  const log = new KeptLog();
  const buffers = new SocketBuffers({ sendBytes: 4_000, receiveBytes: 0 }, log, "darwin");
  const socket = await connected();
  const before = sizeOf(socket, "SO_SNDBUF");
  buffers.apply(socket);
  buffers.apply(socket);
  expect(sizeOf(socket, "SO_SNDBUF")).toBe(before);
  socket.destroy();
  expect(log.texts("warn")).toEqual([
    'Options "send_buffer_bytes" and "receive_buffer_bytes" have no effect here: sizes of socket buffers can be set on Linux alone',
  ]);
  const quiet = new KeptLog();
  new SocketBuffers({ sendBytes: 0, receiveBytes: 0 }, quiet, "darwin");
  expect(quiet.lines).toEqual([]);
});
