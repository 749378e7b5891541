import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import type { SocketBuffers } from "./socket_buffers.ts";
import { seen, type SeenCertificate } from "./tls/seen_certificate.ts";

const KEEP_ALIVE_DELAY_MS = 60_000;

export interface SocketAddress {
  /** The broker's name, which its certificate has to have. */
  readonly host: string;
  /** Where that is. */
  readonly address: string;
  readonly port: number;
  /** "host:port" */
  readonly broker: string;
  /** Null: the system's sizes. */
  readonly buffers: SocketBuffers | null;
}

export interface SocketEvents {
  /** The TCP connection is there, and TLS begins. */
  onHandshake(): void;
  /** Bytes can be sent. */
  onConnect(): void;
  /** The broker's certificate was found to be good. */
  onCertificate(seen: SeenCertificate): void;
}

/** Begins to connect, with TLS when `secure` is given. Throws what `tls.connect` throws for options that it does not take. */
export function connectSocket(
  to: SocketAddress,
  secure: ConnectionOptions | null,
  events: SocketEvents,
): Socket {
  const socket = secure === null
    ? connectTcp({ host: to.address, port: to.port }, () => events.onConnect())
    : connectSecure(to, secure, events);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_DELAY_MS);
  const { buffers } = to;
  if (buffers !== null) socket.once("connect", () => buffers.apply(socket));
  return socket;
}

function connectSecure(to: SocketAddress, secure: ConnectionOptions, events: SocketEvents): Socket {
  const name = isIP(to.host) === 0 ? { servername: to.host } : {};
  const socket = connectTls({ ...name, ...secure, host: to.address, port: to.port }, () => {
    const certificate = socket.getPeerX509Certificate();
    if (certificate !== undefined) events.onCertificate(seen(certificate, "broker", to.broker));
    events.onConnect();
  });
  socket.once("connect", () => events.onHandshake());
  return socket;
}
