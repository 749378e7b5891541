import type { Socket } from "bun";
import { BODY_BYTES_MAX, HEAD_BYTES_MAX, headEnd, parseHead, type RequestHead } from "./request_head.ts";

/** From when it is connected, or from its last answer on, a client has so long to send a whole request, however much it sends meanwhile. */
export const REQUEST_MS = 10_000;
/** So long it has to take the answer. */
export const ANSWER_MS = 30_000;
/** After a request that was refused, what the client still sends is read for so long, or it might not see why. */
const LINGER_MS = 1_000;

export interface HttpConnectionOptions {
  readonly answer: (request: Request) => Response | Promise<Response>;
  /** Of REQUEST_MS and ANSWER_MS: what tests need not wait for. */
  readonly requestMs: number;
  readonly answerMs: number;
  readonly now: () => number;
  /** It is gone. */
  readonly onClosed: () => void;
}

const NOTHING = Buffer.alloc(0);

/**
 * One client. Requests are answered one after the other; memory is a head, a short body and an answer at most.
 *
 *     reading -> answering -> writing -> reading, or ended
 */
export class HttpConnection {
  readonly #socket: Socket<HttpConnection>;
  readonly #options: HttpConnectionOptions;
  #state: "reading" | "answering" | "writing" | "ended" = "reading";
  #received: Buffer = NOTHING;
  #toSend: Buffer = NOTHING;
  #keepsAlive = false;
  #isLast = false;
  /** The client sends nothing more. */
  #isHalfClosed = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  /** When it began to do what it does, milliseconds. */
  sinceMs = 0;

  constructor(socket: Socket<HttpConnection>, options: HttpConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#enter("reading", options.requestMs);
  }

  /** It waits for its client, and can be given up for another one. */
  get isWaiting(): boolean {
    return this.#state !== "answering";
  }

  /** Bytes of the client. */
  take(data: Buffer): void {
    if (this.#state === "ended") return;
    this.#received = this.#received.length === 0 ? Buffer.from(data) : Buffer.concat([this.#received, data]);
    this.#read();
    // Whoever sends requests ahead has to wait for the answers.
    if (this.#received.length > HEAD_BYTES_MAX + BODY_BYTES_MAX) this.#refuse(431);
  }

  /** The client takes more. */
  drain(): void {
    if (this.#toSend.length > 0) this.#write(NOTHING);
  }

  /** The client sends nothing more; what it has asked for is answered. */
  halfClosed(): void {
    this.#isHalfClosed = true;
    if (this.#state === "reading") this.#end();
  }

  closed(): void {
    this.#state = "ended";
    this.#stopTimer();
    this.#received = this.#toSend = NOTHING;
    this.#options.onClosed();
  }

  /** What was asked for is answered, and nothing more. */
  finish(): void {
    this.#isLast = true;
    this.#keepsAlive = false;
    if (this.#state === "reading" && this.#received.length === 0) this.cut();
  }

  /** At once, whatever is on its way. */
  cut(): void {
    this.#socket.terminate();
  }

  #read(): void {
    if (this.#state !== "reading") return;
    const end = headEnd(this.#received);
    if (end < 0 ? this.#received.length > HEAD_BYTES_MAX : end > HEAD_BYTES_MAX) return this.#refuse(431);
    if (end < 0) return;
    const head = parseHead(this.#received.subarray(0, end));
    if (typeof head === "number") return this.#refuse(head);
    if (this.#received.length < end + head.bodyBytes) return;
    this.#received = Buffer.from(this.#received.subarray(end + head.bodyBytes));
    this.#answer(head);
  }

  #answer({ request, keepsAlive }: RequestHead): void {
    this.#stopTimer();
    this.#state = "answering";
    this.#keepsAlive = keepsAlive && !this.#isLast;
    this.#render(request).then((bytes) => {
      if (this.#state !== "answering") return;
      this.#enter("writing", this.#options.answerMs);
      this.#write(bytes);
    }, () => this.cut());
  }

  async #render(request: Request): Promise<Buffer> {
    const response = await this.#options.answer(request);
    const body = Buffer.from(await response.arrayBuffer());
    const fields = [...response.headers].filter(([name]) =>
      name !== "content-length" && name !== "connection"
    );
    if (request.method !== "HEAD") fields.push(["content-length", String(body.length)]);
    fields.push(["date", new Date(this.#options.now()).toUTCString()]);
    if (!this.#keepsAlive) fields.push(["connection", "close"]);
    return Buffer.concat([headOf(response.status, fields), request.method === "HEAD" ? NOTHING : body]);
  }

  #write(more: Buffer): void {
    if (more.length > 0) this.#toSend = more;
    const count = this.#socket.write(this.#toSend);
    if (count < 0) return; // it is gone: `closed` follows
    this.#toSend = this.#toSend.subarray(count);
    if (this.#toSend.length > 0 || this.#state !== "writing") return;
    this.#toSend = NOTHING;
    if (!this.#keepsAlive || this.#isHalfClosed && this.#received.length === 0) return this.#end();
    this.#enter("reading", this.#options.requestMs);
    this.#read();
  }

  /** Says why, and ends. */
  #refuse(status: number): void {
    this.#received = NOTHING;
    // What is being sent would be mixed up with it.
    if (this.#state !== "reading") return this.cut();
    this.#enter("ended", LINGER_MS);
    this.#write(headOf(status, [["content-length", "0"], ["connection", "close"]]));
    this.#socket.shutdown();
  }

  /** The client still has to take what is in the system's buffers. */
  #end(): void {
    this.#enter("ended", this.#options.answerMs);
    this.#socket.end();
  }

  #enter(state: "reading" | "writing" | "ended", timeoutMs: number): void {
    this.#state = state;
    this.sinceMs = this.#options.now();
    this.#stopTimer();
    this.#timer = setTimeout(() => this.cut(), timeoutMs);
    this.#timer.unref();
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  413: "Content Too Large",
  421: "Misdirected Request",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
  505: "HTTP Version Not Supported",
};

function headOf(status: number, fields: readonly (readonly [string, string])[]): Buffer {
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`HTTP/1.1 ${status} ${REASONS[status] ?? ""}\r\n${lines.join("")}\r\n`, "latin1");
}
