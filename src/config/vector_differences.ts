/** A default that is another one here than where the option comes from, on purpose. */
export interface DefaultDifference {
  /** The option's key in a Kafka sink. */
  readonly option: string;
  /** Whose default it is: the option's words are theirs. */
  readonly from: "Vector" | "Neptunus";
  /** As the docs show it. */
  readonly theirs: string;
  readonly ours: string;
  readonly why: string;
}

/**
 * Options that are known from the Kafka sink of Vector (its document of July 2020) have its names, values and defaults, but for these. A test
 * compares the declarations with that document.
 */
export const DEFAULT_DIFFERENCES: readonly DefaultDifference[] = [
  {
    option: "message_timeout_ms",
    from: "Vector",
    theirs: "`300000`",
    ours: "`0`: never",
    why: "an outage that lasts longer loses data (Vector's issues 14259 and 24193)",
  },
  {
    option: "buffer.max_events",
    from: "Vector",
    theirs: "`500`",
    ours: "`50000`, and `buffer.max_size` of 64 MiB in memory too",
    why: "one read of 256 KiB holds some 1,500 lines",
  },
  {
    option: "key_field",
    from: "Vector",
    theirs: "required; a random key without it",
    ours: "records have no key, and whole batches go to one partition after the other",
    why: "batches stay large",
  },
  {
    option: "acks",
    from: "Vector",
    theirs: "librdkafka's, set in `librdkafka_options`",
    ours: '`"all"`, numbered, and exactly once',
    why: "a broker that is lost or a request that is repeated costs nothing",
  },
  {
    option: "encoding.codec",
    from: "Vector",
    theirs: '`"json"`: "a JSON array", by its text',
    ours: '`"json"`: one object a record',
    why: "that is what its program sends, and what readers expect",
  },
  {
    option: "acks",
    from: "Neptunus",
    theirs: "`one`",
    ours: '`"all"`',
    why: "as above",
  },
  {
    option: "partitioner",
    from: "Neptunus",
    theirs: "`least-bytes`",
    ours: '`"sticky"` without keys',
    why: "batches stay large, and the partition with the least to do is preferred all the same",
  },
  {
    option: "batch.timeout_ms",
    from: "Neptunus",
    theirs: "5 s",
    ours: "`5`",
    why: "lines are there when somebody looks",
  },
];

/** The section of docs/configuration.md. */
export function differencesDocs(): string {
  const rows = DEFAULT_DIFFERENCES.map(({ option, from, theirs, ours, why }) =>
    `| \`${option}\` | ${from}: ${theirs} | ${ours} | ${why} |`
  );
  return [
    "## Defaults that differ from Vector's",
    "",
    "The Kafka sink's options that Vector's Kafka sink has too have the same names, values and defaults, but for these:",
    "",
    "| option | there | here | why |",
    "|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}
