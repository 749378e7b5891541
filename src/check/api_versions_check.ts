import type { KafkaSinkConfig } from "../config/config.ts";
import type { BrokerConnection } from "../kafka/broker_connection.ts";
import {
  ADD_PARTITIONS_TO_TXN_VERSION_MAX,
  ADD_PARTITIONS_TO_TXN_VERSION_MIN,
} from "../kafka/protocol/add_partitions_to_txn.ts";
import { ApiKey, apiName } from "../kafka/protocol/api_keys.ts";
import { CREATE_TOPICS_VERSION_MAX, CREATE_TOPICS_VERSION_MIN } from "../kafka/protocol/create_topics.ts";
import {
  DESCRIBE_CONFIGS_VERSION_MAX,
  DESCRIBE_CONFIGS_VERSION_MIN,
} from "../kafka/protocol/describe_configs.ts";
import { DESCRIBE_PRODUCERS_VERSION } from "../kafka/protocol/describe_producers.ts";
import { END_TXN_VERSION_MIN, END_TXN_VERSION_TV2 } from "../kafka/protocol/end_txn.ts";
import { FETCH_VERSION_MAX, FETCH_VERSION_MIN } from "../kafka/protocol/fetch.ts";
import {
  FIND_COORDINATOR_VERSION_MAX,
  FIND_COORDINATOR_VERSION_MIN,
} from "../kafka/protocol/find_coordinator.ts";
import {
  INIT_PRODUCER_ID_VERSION_MAX,
  INIT_PRODUCER_ID_VERSION_MIN,
} from "../kafka/protocol/init_producer_id.ts";
import { LIST_OFFSETS_VERSION_MAX, LIST_OFFSETS_VERSION_MIN } from "../kafka/protocol/list_offsets.ts";
import { METADATA_VERSION_MAX, METADATA_VERSION_MIN } from "../kafka/protocol/metadata.ts";
import { PRODUCE_VERSION_MAX, PRODUCE_VERSION_MIN } from "../kafka/protocol/produce.ts";
import { type CheckResult, found, passed, placeOf } from "./check_result.ts";

/** An API, and what a sink of this configuration does without it. */
interface WantedApi {
  readonly key: number;
  readonly min: number;
  readonly max: number;
  /** Null: it cannot deliver. */
  readonly without: string | null;
}

/** Whether a broker speaks what this sink asks of it. */
export function checkApiVersions(config: KafkaSinkConfig, connection: BrokerConnection): CheckResult {
  const { broker } = connection;
  const place = placeOf("broker.versions", { sink: config.name, target: broker });
  const apis = wantedApis(config);
  const missing = apis.filter(({ key, min, max }) => connection.highestVersion(key, min, max) === null);
  const fatal = missing.filter((each) => each.without === null);
  const list = (some: readonly WantedApi[]) =>
    some.map(({ key, min, max }) => `${apiName(key)} (version ${min === max ? min : `${min} to ${max}`})`)
      .join(", ");
  if (fatal.length > 0) {
    return found(
      "failed",
      place,
      "unsupported-version",
      `Broker "${broker}" does not speak ${list(fatal)}, which this sink needs`,
      config.delivery === "at_least_once"
        ? "Use brokers of Kafka 1.0 or later"
        : 'Use brokers of Kafka 2.8 or later, or set delivery = "at_least_once"',
    );
  }
  const produce = connection.highestVersion(ApiKey.Produce, PRODUCE_VERSION_MIN, PRODUCE_VERSION_MAX);
  const spoken =
    `Broker "${broker}" speaks what this sink needs: Produce ${produce} (known here: ${PRODUCE_VERSION_MIN} to ${PRODUCE_VERSION_MAX})`;
  if (missing.length === 0) return passed(place, spoken);
  return found(
    "warning",
    place,
    "older-broker",
    `${spoken}, but not ${list(missing)}: ${[...new Set(missing.map((each) => each.without))].join("; ")}`,
    "Brokers of Kafka 2.8 or later have it",
  );
}

function wantedApis({ delivery, topicsAutocreate }: KafkaSinkConfig): WantedApi[] {
  const api = (key: number, min: number, max: number, without: string | null = null) => ({
    key,
    min,
    max,
    without,
  });
  const numbers = api(ApiKey.InitProducerId, INIT_PRODUCER_ID_VERSION_MIN, INIT_PRODUCER_ID_VERSION_MAX);
  const reads = [
    api(ApiKey.Fetch, FETCH_VERSION_MIN, FETCH_VERSION_MAX),
    api(ApiKey.ListOffsets, LIST_OFFSETS_VERSION_MIN, LIST_OFFSETS_VERSION_MAX),
  ];
  return [
    api(ApiKey.Metadata, METADATA_VERSION_MIN, METADATA_VERSION_MAX),
    api(ApiKey.Produce, PRODUCE_VERSION_MIN, PRODUCE_VERSION_MAX),
    api(
      ApiKey.DescribeConfigs,
      DESCRIBE_CONFIGS_VERSION_MIN,
      DESCRIBE_CONFIGS_VERSION_MAX,
      "limits of topics are learned by refusals",
    ),
    ...(topicsAutocreate
      ? [api(ApiKey.CreateTopics, CREATE_TOPICS_VERSION_MIN, CREATE_TOPICS_VERSION_MAX)]
      : []),
    ...(delivery === "exactly_once"
      ? [
        numbers,
        ...reads,
        api(
          ApiKey.DescribeProducers,
          DESCRIBE_PRODUCERS_VERSION,
          DESCRIBE_PRODUCERS_VERSION,
          "it delivers at least once, because nobody can say what became of a batch",
        ),
      ]
      : []),
    ...(delivery === "transactional"
      ? [
        numbers,
        ...reads,
        api(ApiKey.FindCoordinator, FIND_COORDINATOR_VERSION_MIN, FIND_COORDINATOR_VERSION_MAX),
        api(
          ApiKey.AddPartitionsToTxn,
          ADD_PARTITIONS_TO_TXN_VERSION_MIN,
          ADD_PARTITIONS_TO_TXN_VERSION_MAX,
        ),
        api(ApiKey.EndTxn, END_TXN_VERSION_MIN, END_TXN_VERSION_TV2),
      ]
      : []),
  ];
}
