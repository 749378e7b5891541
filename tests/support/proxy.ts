import { connect, createServer, type Server, type Socket } from "node:net";

/** Bytes on their way to the server (`request`) or back (`response`). */
export type Direction = "request" | "response";

/** What a proxy does to the bytes of new and present connections, until it is changed. */
export interface ProxyFault {
  /** Nothing is forwarded in these directions; the connection stays open and its bytes wait. */
  readonly stall?: readonly Direction[];
  /** Bytes of these directions are thrown away instead of forwarded. */
  readonly swallow?: readonly Direction[];
  /** Each piece is held for so long; order is kept. */
  readonly delayMs?: number;
  /** Each connection forwards so many bytes a second in each direction; its sender is held back, as by a slow line. */
  readonly bytesPerSecond?: number;
  /**
   * A connection is cut when so many bytes of `direction` were forwarded since the fault was set; with `everyNth` only one of so many
   * connections, counted over all that were ever accepted.
   */
  readonly cutAfter?: { readonly direction: Direction; readonly bytes: number; readonly everyNth?: number };
  /** One bit of the byte at this place (counted for each connection since the fault was set) is flipped. */
  readonly corrupt?: { readonly direction: Direction; readonly at: number };
  /** New connections are closed at once. */
  readonly refuse?: boolean;
}

/** The way to the server of a connection whose client is gone, and what is still to go there. */
interface Late {
  readonly server: Socket;
  readonly data: Buffer;
}

/** A server that has got the last of a client's bytes may need so long to act on them before its connection ends. */
const LATE_LIFE_MS = 500;

/** A slow line forwards a piece this often, and takes so much more than it has forwarded. */
const SLOW_TICK_MS = 50;
const SLOW_HELD_BYTES = 65_536;

interface Held {
  data: Buffer;
  dueMs: number;
}

interface Connection {
  /** How many were accepted before it. */
  readonly number: number;
  readonly client: Socket;
  readonly server: Socket;
  /** Since the fault was set. */
  readonly forwardedBytes: Record<Direction, number>;
  /** What was received and not forwarded yet, in order. */
  readonly held: Record<Direction, Held[]>;
  /** A slow line waits for its next piece. */
  readonly isPacing: Record<Direction, boolean>;
}

const DIRECTIONS: readonly Direction[] = ["request", "response"];

/**
 * A TCP proxy on loopback that goes wrong on demand. Where its address has to be advertised by the broker, the test gives the port:
 * see `TestKafka.proxied`.
 */
export class Proxy implements AsyncDisposable {
  readonly port: number;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  readonly #late: Late[] = [];
  #targetPort: number;
  #fault: ProxyFault = {};
  #connectionCount = 0;

  constructor(server: Server, port: number, targetPort: number) {
    this.#server = server;
    this.port = port;
    this.#targetPort = targetPort;
    server.on("connection", (client: Socket) => this.#accept(client));
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Connections that were ever accepted. */
  get connectionCount(): number {
    return this.#connectionCount;
  }

  /** Connections that are open now. */
  get openCount(): number {
    return this.#connections.size;
  }

  /** Connections of which a part of a request is held back now. */
  get heldRequestCount(): number {
    let count = 0;
    for (const { held } of this.#connections) if (held.request.length > 0) count++;
    return count;
  }

  /** Where new connections go. */
  set targetPort(port: number) {
    this.#targetPort = port;
  }

  /** Puts a fault in the place of the one before; what was held goes on at once, if the new one lets it. */
  setFault(fault: ProxyFault): void {
    this.#fault = fault;
    for (const connection of this.#connections) {
      for (const direction of DIRECTIONS) {
        connection.forwardedBytes[direction] = 0;
        for (const held of connection.held[direction]) held.dueMs = 0;
        this.#pump(connection, direction);
      }
    }
  }

  /** Forwards everything again. */
  heal(): void {
    this.setFault({});
  }

  /** Resets every open connection now. */
  cut(): void {
    for (const connection of this.#connections) this.#drop(connection);
  }

  /**
   * Closes every connection towards its client. What the client had sent and was held back (`stall`) is kept for `deliverLate`. Returns how
   * many connections had such bytes.
   */
  strand(): number {
    let count = 0;
    for (const { client, server, held } of this.#connections) {
      if (held.request.length > 0) {
        this.#late.push({ server, data: Buffer.concat(held.request.map(({ data }) => data)) });
        server.removeAllListeners("data").removeAllListeners("close").on("data", () => {});
        count++;
      } else server.destroy();
      client.destroy();
    }
    this.#connections.clear();
    return count;
  }

  /** The stranded bytes reach the server now, as the last packets of a process that died: nobody reads the answers. */
  deliverLate(): void {
    for (const { server, data } of this.#late.splice(0)) {
      server.write(data);
      setTimeout(() => server.destroy(), LATE_LIFE_MS).unref();
    }
  }

  /** Closes the port and all connections. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    for (const { server } of this.#late.splice(0)) server.destroy();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #accept(client: Socket): void {
    const number = this.#connectionCount++;
    if (this.#fault.refuse) return void client.destroy();
    const connection: Connection = {
      number,
      client,
      server: connect(this.#targetPort, "127.0.0.1"),
      forwardedBytes: { request: 0, response: 0 },
      held: { request: [], response: [] },
      isPacing: { request: false, response: false },
    };
    this.#connections.add(connection);
    for (const direction of DIRECTIONS) {
      const { from, to } = ends(connection, direction);
      from.setNoDelay(true);
      from.on("data", (data: Buffer) => {
        connection.held[direction].push({ data, dueMs: performance.now() + (this.#fault.delayMs ?? 0) });
        if (this.#fault.bytesPerSecond !== undefined && heldBytes(connection, direction) > SLOW_HELD_BYTES) {
          from.pause();
        }
        this.#pump(connection, direction);
      });
      from.on("error", () => this.#drop(connection));
      // What it sent before it closed still has to arrive.
      from.on("close", () => connection.held[direction].length === 0 ? to.end() : this.#drop(connection));
      to.on("close", () => this.#connections.delete(connection));
    }
  }

  /** Forwards what is due, in order. */
  #pump(connection: Connection, direction: Direction): void {
    const queue = connection.held[direction];
    while (queue.length > 0 && this.#connections.has(connection) && !this.#fault.stall?.includes(direction)) {
      const waitMs = queue[0]!.dueMs - performance.now();
      if (waitMs > 0) return void setTimeout(() => this.#pump(connection, direction), waitMs);
      const { bytesPerSecond } = this.#fault;
      if (bytesPerSecond !== undefined) return this.#pace(connection, direction, bytesPerSecond);
      ends(connection, direction).from.resume();
      this.#forward(connection, direction, queue.shift()!.data);
    }
  }

  #pace(connection: Connection, direction: Direction, bytesPerSecond: number): void {
    if (connection.isPacing[direction]) return;
    connection.isPacing[direction] = true;
    const queue = connection.held[direction];
    const bytes = Math.max(1, Math.round(bytesPerSecond * SLOW_TICK_MS / 1_000));
    const { data } = queue[0]!;
    this.#forward(connection, direction, data.subarray(0, bytes));
    if (bytes >= data.length) queue.shift();
    else queue[0]!.data = data.subarray(bytes);
    setTimeout(() => {
      connection.isPacing[direction] = false;
      if (heldBytes(connection, direction) <= SLOW_HELD_BYTES) ends(connection, direction).from.resume();
      this.#pump(connection, direction);
    }, SLOW_TICK_MS);
  }

  #forward(connection: Connection, direction: Direction, data: Buffer): void {
    const fault = this.#fault;
    if (fault.swallow?.includes(direction)) return;
    const before = connection.forwardedBytes[direction];
    let bytes = data;
    if (fault.corrupt?.direction === direction) bytes = flipBit(data, fault.corrupt.at - before);
    const { cutAfter } = fault;
    const isCut = cutAfter?.direction === direction && connection.number % (cutAfter.everyNth ?? 1) === 0;
    const left = isCut ? cutAfter.bytes - before : Infinity;
    if (bytes.length >= left) bytes = bytes.subarray(0, left);
    connection.forwardedBytes[direction] = before + bytes.length;
    const { from, to } = ends(connection, direction);
    if (bytes.length < left) {
      if (!to.write(bytes)) {
        from.pause();
        to.once("drain", () => from.resume());
      }
      return;
    }
    // The last bytes go out, then both sides are reset.
    to.write(bytes, () => this.#drop(connection));
  }

  #drop(connection: Connection): void {
    if (!this.#connections.delete(connection)) return;
    connection.client.destroy();
    connection.server.destroy();
  }
}

function heldBytes({ held }: Connection, direction: Direction): number {
  return held[direction].reduce((sum, { data }) => sum + data.length, 0);
}

function ends({ client, server }: Connection, direction: Direction): { from: Socket; to: Socket } {
  return direction === "request" ? { from: client, to: server } : { from: server, to: client };
}

function flipBit(data: Buffer, at: number): Buffer {
  if (at < 0 || at >= data.length) return data;
  const copy = Buffer.from(data);
  copy[at]! ^= 1;
  return copy;
}

/** Starts a proxy in front of a port on loopback. `listenPort` 0 takes a free one. */
export function startProxy(targetPort: number, listenPort = 0): Promise<Proxy> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(listenPort, "127.0.0.1", () => {
      resolve(new Proxy(server, (server.address() as { port: number }).port, targetPort));
    });
  });
}
