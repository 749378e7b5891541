import { countOf } from "../../telemetry/format.ts";
import type { Log } from "../../telemetry/log.ts";
import type { CertificateFigure } from "../../telemetry/metrics.ts";
import type { SeenCertificate } from "./seen_certificate.ts";

const DAY_MS = 86_400_000;
/** A certificate is warned about this long before it ends. */
const WARN_AHEAD_MS = 14 * DAY_MS;
/** Brokers whose certificates are remembered; the oldest is forgotten. */
const BROKERS_MAX = 1_000;

export interface CertificateWatchOptions {
  /** The sink. */
  readonly name: string;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Where the figures are shown. */
  readonly show: (figures: readonly CertificateFigure[]) => void;
  /** Reads the files again: they may have been renewed since the last connection. Rejects when they cannot be used. */
  readonly reload: () => Promise<readonly SeenCertificate[]>;
}

/** Keeps when certificates end, and warns of that 14 days ahead: when it sees one, and then once a day. */
export class CertificateWatch {
  readonly #options: CertificateWatchOptions;
  readonly #brokers = new Map<string, SeenCertificate>();
  #files: readonly SeenCertificate[] = [];
  /** By role and certificate, when it was warned about last. */
  readonly #warnedMs = new Map<string, number>();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(options: CertificateWatchOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.checkAgain(), DAY_MS);
    this.#timer.unref();
  }

  /** What a connection rests on: all of the files, or one broker's. */
  note(certificates: readonly SeenCertificate[]): void {
    const [first] = certificates;
    if (first === undefined) return;
    if (first.role === "broker") this.#noteBroker(first);
    else this.#files = certificates;
    this.#tell();
  }

  /** The look once a day. */
  async checkAgain(): Promise<void> {
    try {
      this.#files = await this.#options.reload();
    } catch (error) {
      // The next connection fails with it, and says so; until then what was read before is in use.
      this.#options.log.debug(`Certificates could not be read again: ${(error as Error).message}`);
    }
    this.#tell();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #noteBroker(certificate: SeenCertificate): void {
    const broker = certificate.broker ?? "";
    this.#brokers.delete(broker);
    this.#brokers.set(broker, certificate);
    if (this.#brokers.size > BROKERS_MAX) this.#brokers.delete(this.#brokers.keys().next().value!);
  }

  #tell(): void {
    const nowMs = this.#options.now();
    const roles = ["client", "ca", "broker"] as const;
    const next = roles.flatMap((role) => this.#nextToEnd(role, nowMs) ?? []);
    this.#options.show(next.map(({ role, notAfterMs }) => ({ role, notAfterMs })));
    for (const each of next) this.#warn(each, nowMs);
  }

  /**
   * The one that ends first. Old authorities stay in bundles after their successors were added: those that have ended count only when there
   * is no other.
   */
  #nextToEnd(role: SeenCertificate["role"], nowMs: number): SeenCertificate | null {
    const all = role === "broker"
      ? [...this.#brokers.values()]
      : this.#files.filter((each) => each.role === role);
    const valid = role === "ca" ? all.filter((each) => each.notAfterMs > nowMs) : all;
    const inOrder = [...valid.length === 0 ? all : valid].sort((a, b) => a.notAfterMs - b.notAfterMs);
    return (valid.length === 0 ? inOrder.at(-1) : inOrder[0]) ?? null;
  }

  #warn(certificate: SeenCertificate, nowMs: number): void {
    const { role, broker, subject, notAfterMs } = certificate;
    const leftMs = notAfterMs - nowMs;
    if (leftMs > WARN_AHEAD_MS) return;
    const key = `${role} ${broker ?? ""}`;
    const warnedMs = this.#warnedMs.get(key);
    // A clock that was set back is no reason to keep silent.
    if (warnedMs !== undefined && nowMs >= warnedMs && nowMs - warnedMs < DAY_MS) return;
    if (this.#warnedMs.size > BROKERS_MAX) this.#warnedMs.clear();
    this.#warnedMs.set(key, nowMs);
    const what = broker === null ? NAMES[role] : `The certificate of broker "${broker}"`;
    const end = new Date(notAfterMs).toISOString();
    const days = Math.floor(Math.abs(leftMs) / DAY_MS);
    const when = leftMs > 0
      ? `ends in ${countOf(days, "day")}, at ${end}`
      : `ended ${countOf(days, "day")} ago, at ${end}`;
    this.#options.log.warn(`${what} ${when} (${subject})`, { sink: this.#options.name, hint: HINTS[role] });
  }
}

const NAMES: Readonly<Record<SeenCertificate["role"], string>> = {
  client: "The client's certificate of tls.crt_file",
  ca: "The authority of tls.ca_file that ends first",
  broker: "The certificate of a broker",
};

const HINTS: Readonly<Record<SeenCertificate["role"], string>> = {
  client: "Put a renewed one, with its key, in its place: the next connection uses it, without a restart",
  ca: "Add its successor to tls.ca_file: the next connection uses it, without a restart",
  broker: "Renew the broker's certificate",
};
