/** When a token that is a JWT ends by what it says of itself, milliseconds since the epoch; null: it says nothing, or is no JWT. */
export function expiryOf(token: string): number | null {
  const claims = token.split(".")[1];
  if (claims === undefined) return null;
  try {
    const { exp } = JSON.parse(Buffer.from(claims, "base64url").toString("utf8")) as { exp?: unknown };
    return typeof exp === "number" && Number.isFinite(exp) ? exp * 1_000 : null;
  } catch {
    return null; // an opaque token with a dot in it
  }
}
