/** What shipper promises of delivery, as one word: at least once, or exactly once with what that survives (`durability`). */
export type Guarantee = "at_least_once" | "process" | "machine";

/** The lines of a sink's table that ask for it. */
export function guaranteeOptions(guarantee: Guarantee): string[] {
  if (guarantee === "at_least_once") return ['delivery = "at_least_once"'];
  return ['delivery = "exactly_once"', `durability = "${guarantee}"`];
}

/** As tables name it. */
export function guaranteeLabel(guarantee: Guarantee): string {
  return guarantee === "at_least_once" ? "at least once" : `exactly once, ${guarantee}`;
}
