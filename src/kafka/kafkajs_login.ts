import type KafkaJsConnection from "kafkajs/src/network/connection";
import { ApiKey } from "./protocol/api_keys.ts";
import { isTokenLogin, type Login, type LoginMessage } from "./login/login.ts";

/** What kafkajs gives to a provider of authentication. */
interface ProviderContext {
  saslAuthenticate(exchange: {
    readonly request: { encode(): Promise<Buffer> };
    readonly response: { decode(bytes: Buffer): Promise<Buffer>; parse(answer: Buffer): Promise<Buffer> };
  }): Promise<Buffer>;
}

/**
 * kafkajs' `sasl` object, in which it keeps state: one for each connection. Its own OAUTHBEARER ignores the broker's refusal, and its AWS
 * is not MSK's, so these two are ours: `message` gives what was prepared for this attempt.
 */
export function kafkaJsSasl(login: Login, message: () => LoginMessage): object {
  if (!isTokenLogin(login)) {
    return { mechanism: login.mechanism, username: login.username, password: login.password };
  }
  const authenticate = async ({ saslAuthenticate }: ProviderContext): Promise<void> => {
    const send = (bytes: Buffer) =>
      saslAuthenticate({
        request: { encode: () => Promise.resolve(withLength(bytes)) },
        response: {
          decode: (answer) => Promise.resolve(answer.subarray(4)),
          parse: (answer) => Promise.resolve(answer),
        },
      });
    const { bytes, note } = message();
    let answer: Buffer;
    try {
      answer = await send(bytes);
    } catch (error) {
      throw refusal(error, "", note);
    }
    const reply = login.reply(answer);
    if (reply === null) return;
    // A refusal: the broker waits for the end of the exchange, and says it once more as an error.
    const said = answer.toString("latin1");
    const error = await send(reply).then(() => null, (failure: unknown) => failure);
    throw refusal(error, said, note);
  };
  return {
    mechanism: login.mechanism,
    authenticationProvider: (context: ProviderContext) => ({ authenticate: () => authenticate(context) }),
  };
}

function withLength(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** `said`: the broker's refusal before the error. Without it the error's kind stays: a connection that was lost is no refusal. */
function refusal(error: unknown, said: string, note: string | null): Error {
  const message = error instanceof Error ? error.message : String(error);
  const words = said === "" ? message : message.includes(said) ? message : said;
  return new SaslRefusal(note === null ? words : `${words}; ${note}`, said === "" ? error : undefined);
}

/** The broker's refusal, in its words. */
class SaslRefusal extends Error {
  override readonly name = "SaslRefusal";

  constructor(message: string, cause: unknown) {
    super(message, { cause });
  }
}

/** The broker lists what it takes only in the answer that refuses; kafkajs drops that list. */
export function noteMechanisms(
  connection: KafkaJsConnection,
  onOffered: (mechanisms: readonly string[]) => void,
): void {
  const send = connection.send.bind(connection);
  connection.send = (protocol) => {
    if (protocol.request.apiKey !== ApiKey.SaslHandshake) return send(protocol);
    const decode = async (payload: Buffer): Promise<unknown> => {
      const decoded = await protocol.response.decode(payload) as { enabledMechanisms?: string[] };
      onOffered(decoded.enabledMechanisms ?? []);
      return decoded;
    };
    return send({ request: protocol.request, response: { decode, parse: protocol.response.parse } });
  };
}

/** The most that a password is derived with; Kafka gives users 4,096 to 16,384. More would hold a thread of the runtime's pool for a second and longer. */
const ITERATIONS_MAX = 1_000_000;

/**
 * SCRAM's count of iterations comes from whoever answers, before he has proved who he is: kafkajs has a least (no weak proof is sent), and no most, so that one
 * answer keeps a thread of the pool busy for an hour.
 */
export function limitIterations(connection: KafkaJsConnection, login: Login | null): void {
  if (login?.mechanism.startsWith("SCRAM") !== true) return;
  const send = connection.send.bind(connection);
  connection.send = (protocol) => {
    if (protocol.request.apiKey !== ApiKey.SaslAuthenticate) return send(protocol);
    const decode = async (payload: Buffer): Promise<unknown> => {
      const decoded = await protocol.response.decode(payload) as { authBytes?: Buffer | null };
      // Behind their length, as kafkajs gives and reads them.
      const values = decoded.authBytes?.toString("latin1", 4).split(",") ?? [];
      const counts = values.filter((each) => each.startsWith("i=")).map((each) =>
        parseInt(each.slice(2), 10)
      );
      const count = counts.find((each) => !(each <= ITERATIONS_MAX));
      if (count === undefined) return decoded;
      throw new Error(`it asks for ${count} iterations, and at most ${ITERATIONS_MAX} are done here`);
    };
    return send({ request: protocol.request, response: { decode, parse: protocol.response.parse } });
  };
}
