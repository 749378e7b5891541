import type { ConnectContext, Explanation } from "./connect_errors.ts";
import type { SeenCertificate } from "./tls/seen_certificate.ts";

const UNKNOWN_CA: ReadonlySet<string> = new Set([
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_SIGNATURE_FAILURE",
  "INVALID_CA",
]);

/** Words for what is wrong with certificates; null when it is something else. */
export function explainTls(code: string, cause: unknown, context: ConnectContext): Explanation | null {
  if (UNKNOWN_CA.has(code)) {
    return {
      code,
      state: `its certificate is signed by a CA that is not trusted here (${code})`,
      hint: "Set tls.ca_file to the CA that signed the brokers' certificates",
    };
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return explainOtherName(cause);
  if (code === "CERT_HAS_EXPIRED" || code === "CERT_NOT_YET_VALID") {
    return {
      code,
      state: code === "CERT_HAS_EXPIRED" ? "its certificate has expired" : "its certificate is not valid yet",
      hint: "Renew the broker's certificate, or correct this host's clock",
    };
  }
  if (/ERR_SSL.*(WRONG_VERSION_NUMBER|HTTP_REQUEST|UNKNOWN_PROTOCOL|PACKET_LENGTH_TOO_LONG)/.test(code)) {
    return {
      code,
      state: `it does not speak TLS (${code})`,
      hint: "Remove tls.enabled, or use the port of the SSL listener",
    };
  }
  if (/ERR_SSL.*ALERT.*(CERTIFICATE|UNKNOWN_CA|HANDSHAKE_FAILURE|ACCESS_DENIED)/.test(code)) {
    return explainRefusal(code, context.clientCertificate);
  }
  if (/ERR_SSL|^(NO_START_LINE|KEY_VALUES_MISMATCH|BAD_DECRYPT|DECODE_ERROR)/.test(code)) {
    return {
      code,
      state: `TLS failed (${code})`,
      hint: "Check tls.ca_file, tls.crt_file, tls.key_file and the broker's log",
    };
  }
  return null;
}

/** Of the error of tls.checkServerIdentity. */
function explainOtherName(cause: unknown): Explanation {
  const { host, cert } = cause as {
    host?: string;
    cert?: { subjectaltname?: string; subject?: { CN?: string } };
  };
  const names = cert?.subjectaltname ??
    (cert?.subject?.CN === undefined ? "no name" : `CN:${cert.subject.CN}`);
  return {
    code: "ERR_TLS_CERT_ALTNAME_INVALID",
    state: `its certificate is for ${names}, not for "${host ?? "this name"}"`,
    hint:
      "Use a name from the certificate in bootstrap_servers, set tls.server_name, or tls.verify_hostname = false",
  };
}

/** A broker's alert says little; what is known here says more. */
function explainRefusal(code: string, client: SeenCertificate | null): Explanation {
  if (client === null) {
    return {
      code: "tls-client-missing",
      state: `it wants a client's certificate and got none (${code})`,
      hint: "Set tls.crt_file and tls.key_file, or use the port of a listener that wants none",
    };
  }
  if (client.notAfterMs <= Date.now()) {
    return {
      code: "tls-client-expired",
      state: `it refused the client's certificate (${client.subject}), which ended at ${
        new Date(client.notAfterMs).toISOString()
      } (${code})`,
      hint: "Put a renewed certificate in the place of tls.crt_file: the next connection uses it",
    };
  }
  return {
    code: "tls-client-refused",
    state: `it refused the client's certificate (${client.subject}) (${code})`,
    hint:
      "Give one that is signed by an authority in the brokers' truststore, and look into the broker's log",
  };
}
