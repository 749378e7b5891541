import type { ConnectContext, Explanation } from "./connect_errors.ts";

/** What to look at when a login is refused, by mechanism. */
const REFUSED_HINTS: Readonly<Record<string, string>> = {
  OAUTHBEARER:
    "Check that the token has not expired, and its issuer, audience and scope against the listener's sasl.oauthbearer.* settings",
  AWS_MSK_IAM:
    "Check the policy of this identity (kafka-cluster:Connect), sasl.aws.region, and this host's clock",
};
const PASSWORD_HINT =
  "Correct sasl.username and sasl.password, and check that the user exists for this mechanism";

/** Words for a login that did not come about. `code`: of the error, or "closed". */
export function explainSasl(code: string, cause: unknown, context: ConnectContext): Explanation {
  const mechanism = context.saslMechanism ?? "none";
  const type = (cause as { type?: unknown }).type;
  if (context.offeredMechanisms.length > 0 && !context.offeredMechanisms.includes(mechanism)) {
    const offered = context.offeredMechanisms.map((name) => `"${name}"`).join(", ");
    return {
      code: "sasl-mechanism",
      state: `it does not take SASL ${mechanism}, only ${offered}`,
      hint: `Set sasl.mechanism to one of ${offered}, or add it to sasl.enabled.mechanisms of the listener`,
    };
  }
  if (type === "UNSUPPORTED_SASL_MECHANISM") {
    return {
      code: "sasl-mechanism",
      state: `it does not take SASL ${mechanism}`,
      hint: "Set sasl.mechanism to one that the listener's sasl.enabled.mechanisms names",
    };
  }
  if (type === "ILLEGAL_SASL_STATE" && context.isRenewal) {
    return {
      code: "sasl-session",
      state: "it takes no renewed login now",
      hint:
        "Raise connections.max.reauth.ms of the listener, or the life of tokens: it takes no login within a second of the last",
    };
  }
  if (type === "ILLEGAL_SASL_STATE") {
    return {
      code: "sasl-not-expected",
      state: "its listener does not use SASL",
      hint: "Set sasl.enabled = false, or use the port of the SASL listener",
    };
  }
  const refused = REFUSED_HINTS[mechanism];
  if (code === "closed" || code === "ECONNRESET" || code === "EPIPE") {
    return {
      code: "sasl-refused",
      state: `it closed the connection during SASL ${mechanism} authentication`,
      hint: refused ??
        "Check sasl.username, sasl.password and sasl.mechanism, and look into the broker's log",
    };
  }
  const message = cause instanceof Error ? cause.message : String(cause);
  return {
    code: "sasl-refused",
    state: `it refused SASL ${mechanism} authentication (${
      message.replace(/^SASL .*? authentication failed: /, "")
    })`,
    hint: refused ?? PASSWORD_HINT,
  };
}
