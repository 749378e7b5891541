import { connect } from "node:net";

/** What one broker says of its cluster. */
export interface ClusterView {
  readonly brokerIds: readonly number[];
  readonly controllerId: number;
}

const METADATA_API = 3;
const METADATA_VERSION = 4; // the last with a plain layout that every Kafka from 0.11 to 4.x answers
const ANSWER_TIMEOUT_MS = 2_000;

/** Asks a plaintext listener on loopback for metadata without topics. Null when it does not answer, or not with metadata. */
export function probeBroker(port: number): Promise<ClusterView | null> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    let received = Buffer.alloc(0);
    const finish = (view: ClusterView | null) => {
      socket.destroy();
      resolve(view);
    };
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => finish(null));
    socket.on("error", () => finish(null));
    socket.on("close", () => resolve(null));
    socket.on("connect", () => socket.write(metadataRequest()));
    socket.on("data", (data: Buffer) => {
      received = Buffer.concat([received, data]);
      if (received.length < 4 || received.length < 4 + received.readInt32BE(0)) return;
      finish(parseMetadata(received));
    });
  });
}

function metadataRequest(): Buffer {
  const clientId = "probe";
  const request = Buffer.alloc(4 + 2 + 2 + 4 + 2 + clientId.length + 4 + 1);
  request.writeInt32BE(request.length - 4, 0);
  request.writeInt16BE(METADATA_API, 4);
  request.writeInt16BE(METADATA_VERSION, 6);
  request.writeInt32BE(1, 8); // correlation id
  request.writeInt16BE(clientId.length, 12);
  request.write(clientId, 14, "latin1");
  // An empty list of topics, and no auto-creation: what is left zero.
  return request;
}

function parseMetadata(answer: Buffer): ClusterView | null {
  try {
    let at = 4 + 4 + 4; // length, correlation id, throttle time
    const count = answer.readInt32BE(at);
    at += 4;
    const brokerIds: number[] = [];
    for (let i = 0; i < count; i++) {
      brokerIds.push(answer.readInt32BE(at));
      at += 4;
      at += 2 + answer.readInt16BE(at) + 4; // host, port
      at += 2 + Math.max(0, answer.readInt16BE(at)); // rack
    }
    at += 2 + Math.max(0, answer.readInt16BE(at)); // cluster id
    return { brokerIds, controllerId: answer.readInt32BE(at) };
  } catch {
    return null; // not Kafka, or cut short
  }
}
