import { FFIType, ptr } from "bun:ffi";
import type { Socket } from "node:net";
import { openLibc } from "../libc.ts";
import type { Log } from "../telemetry/log.ts";

// From Linux's asm-generic/socket.h, which x86-64 and arm64 share.
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const INT_BYTES = 4;

export interface SocketBufferSizes {
  /** 0: the system's. */
  readonly sendBytes: number;
  readonly receiveBytes: number;
}

type SetOption = (fd: number, name: number, bytes: number) => boolean;

/**
 * Sets the sizes of the system's buffers of sockets, by setsockopt: node's net has no such option. It is done when the connection is there, since
 * Bun gives no descriptor before; what the peers agreed on for the window's scale stays.
 */
export class SocketBuffers {
  readonly #sizes: SocketBufferSizes;
  readonly #log: Log;
  readonly #set: SetOption | null;

  /** Warns, once for each of these, where sizes are wanted that cannot be set on this system. */
  constructor(sizes: SocketBufferSizes, log: Log, platform: NodeJS.Platform = process.platform) {
    this.#sizes = sizes;
    this.#log = log;
    const isWanted = sizes.sendBytes > 0 || sizes.receiveBytes > 0;
    this.#set = isWanted ? openSetOption(platform) : null;
    if (isWanted && this.#set === null) {
      log.warn(
        `Options "send_buffer_bytes" and "receive_buffer_bytes" have no effect here: sizes of socket buffers can be set on Linux alone`,
      );
    }
  }

  /** To be called once the socket is connected. */
  apply(socket: Socket): void {
    const { sendBytes, receiveBytes } = this.#sizes;
    if (this.#set === null) return;
    const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;
    const isSet = fd >= 0 && (sendBytes === 0 || this.#set(fd, SO_SNDBUF, sendBytes)) &&
      (receiveBytes === 0 || this.#set(fd, SO_RCVBUF, receiveBytes));
    if (!isSet) this.#log.warn("Cannot set the sizes of a connection's socket buffers: it has the system's");
  }
}

function openSetOption(platform: NodeJS.Platform): SetOption | null {
  if (platform !== "linux") return null;
  const { i32, ptr: pointer, u32 } = FFIType;
  const libc = openLibc({ setsockopt: { args: [i32, i32, i32, pointer, u32], returns: i32 } });
  if (libc === null) return null;
  return (fd, name, bytes) => {
    const value = new Int32Array([bytes]);
    return libc.symbols.setsockopt(fd, SOL_SOCKET, name, ptr(value), INT_BYTES) === 0;
  };
}
