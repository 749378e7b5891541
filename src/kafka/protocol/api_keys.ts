/** Numbers of the APIs that are spoken here. */
export const ApiKey = {
  Produce: 0,
  Fetch: 1,
  ListOffsets: 2,
  Metadata: 3,
  FindCoordinator: 10,
  SaslHandshake: 17,
  ApiVersions: 18,
  CreateTopics: 19,
  InitProducerId: 22,
  OffsetForLeaderEpoch: 23,
  AddPartitionsToTxn: 24,
  EndTxn: 26,
  DescribeConfigs: 32,
  SaslAuthenticate: 36,
  DescribeQuorum: 55,
  DescribeProducers: 61,
  DescribeTransactions: 65,
} as const;

interface ApiInfo {
  readonly name: string;
  /** First version with compact lengths and tagged fields (KIP-482). */
  readonly flexibleFrom: number;
}

const APIS: ReadonlyMap<number, ApiInfo> = new Map([
  [ApiKey.Produce, { name: "Produce", flexibleFrom: 9 }],
  [ApiKey.Fetch, { name: "Fetch", flexibleFrom: 12 }],
  [ApiKey.ListOffsets, { name: "ListOffsets", flexibleFrom: 6 }],
  [ApiKey.Metadata, { name: "Metadata", flexibleFrom: 9 }],
  [ApiKey.FindCoordinator, { name: "FindCoordinator", flexibleFrom: 3 }],
  [ApiKey.SaslHandshake, { name: "SaslHandshake", flexibleFrom: Infinity }],
  [ApiKey.ApiVersions, { name: "ApiVersions", flexibleFrom: 3 }],
  [ApiKey.CreateTopics, { name: "CreateTopics", flexibleFrom: 5 }],
  [ApiKey.InitProducerId, { name: "InitProducerId", flexibleFrom: 2 }],
  [ApiKey.OffsetForLeaderEpoch, { name: "OffsetForLeaderEpoch", flexibleFrom: 4 }],
  [ApiKey.AddPartitionsToTxn, { name: "AddPartitionsToTxn", flexibleFrom: 3 }],
  [ApiKey.EndTxn, { name: "EndTxn", flexibleFrom: 3 }],
  [ApiKey.DescribeConfigs, { name: "DescribeConfigs", flexibleFrom: 4 }],
  [ApiKey.SaslAuthenticate, { name: "SaslAuthenticate", flexibleFrom: 2 }],
  [ApiKey.DescribeQuorum, { name: "DescribeQuorum", flexibleFrom: 0 }],
  [ApiKey.DescribeProducers, { name: "DescribeProducers", flexibleFrom: 0 }],
  [ApiKey.DescribeTransactions, { name: "DescribeTransactions", flexibleFrom: 0 }],
]);

/** Name of an API for messages. */
export function apiName(apiKey: number): string {
  return APIS.get(apiKey)?.name ?? `API ${apiKey}`;
}

/** True when this version has compact lengths and tagged fields. An API that is not listed above is a bug and throws. */
export function isFlexible(apiKey: number, apiVersion: number): boolean {
  const api = APIS.get(apiKey);
  if (api === undefined) {
    throw new Error(`Cannot write a request for API ${apiKey}: it is not in api_keys.ts`);
  }
  return apiVersion >= api.flexibleFrom;
}
