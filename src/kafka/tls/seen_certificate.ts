import type { X509Certificate } from "node:crypto";

/** A certificate that connections rest on. */
export interface SeenCertificate {
  readonly role: "client" | "ca" | "broker";
  /** "host:port" of the broker that showed it; null for those of files. */
  readonly broker: string | null;
  /** For messages: "CN=shipper". */
  readonly subject: string;
  /** The end of its validity, milliseconds since the epoch. */
  readonly notAfterMs: number;
}

/** What is to be remembered of a certificate. */
export function seen(
  certificate: X509Certificate,
  role: SeenCertificate["role"],
  broker: string | null = null,
): SeenCertificate {
  return {
    role,
    broker,
    subject: certificate.subject.replaceAll("\n", ", "),
    notAfterMs: Date.parse(certificate.validTo),
  };
}
