import type { Option, OptionGroup } from "../../src/config/option.ts";
import { transactionOptions } from "../../src/config/options_transaction.ts";

/**
 * A configuration that is complete but for what the line (or lines) adds: the line stands in a table of the group, with an example for every
 * required option but `key`.
 */
export function completeConfig(group: OptionGroup, key: string, line: string): string {
  const required = Object.entries(group.options)
    .filter(([name, option]) => option.required && name !== key && !line.includes(`\n${name} = `))
    .map(([name, option]) => `${name} = ${option.example}\n`).join("");
  const isSource = group.table.startsWith("sources");
  const isSink = group.table.startsWith("sinks");
  const source = isSource
    ? `[sources.app]\n${line}${required}`
    : '[sources.app]\ntype = "file"\ninclude = ["/x"]\ndecoding.codec = "json"\n';
  const sink = isSink ? `[sinks.s]\n${line}${required}` : '[sinks.s]\ntype = "console"\ninputs = ["app"]\n';
  const top = isSource || isSink ? "" : `${group.table === "" ? "" : `[${group.table}]\n`}${line}`;
  return `${top}${source}${sink}`;
}

/** A valid configuration that holds one option, its example or another value, under its key or another spelling, and what that needs. */
export function withExample(
  group: OptionGroup,
  key: string,
  option: Option<unknown>,
  { spelling = key, value = option.example } = {},
): string {
  const needs: Record<string, string> = {
    partitioner: 'key_field = "id"\n',
    allowed_topics: 'topic = "logs-{{unit}}"\n',
    on_template_error: 'topic = "logs-{{unit}}"\nfallback_topic = "rest"\n',
    fallback_topic: 'topic = "logs-{{unit}}"\non_template_error = "fallback_topic"\n',
    topic_missing_timeout_ms: 'on_topic_missing = "drop"\n',
    partition_field: 'partitioner = "field"\n',
    compression_level: 'compression = "zstd"\n',
    security_protocol: 'sasl.mechanism = "SCRAM-SHA-256"\nsasl.username = "u"\nsasl.password = "p"\n',
    "sasl.jaas_config": 'sasl.enabled = true\nsasl.mechanism = "SCRAM-SHA-256"\n',
    "sasl.mechanism": 'sasl.enabled = true\nsasl.username = "u"\nsasl.password = "p"\n',
    "sasl.username": 'sasl.enabled = true\nsasl.mechanism = "SCRAM-SHA-256"\nsasl.password = "p"\n',
    "sasl.password": 'sasl.enabled = true\nsasl.mechanism = "SCRAM-SHA-256"\nsasl.username = "u"\n',
    "sasl.enabled": 'sasl.mechanism = "SCRAM-SHA-256"\nsasl.username = "u"\nsasl.password = "p"\n',
    ...securityNeeds(),
    "tls.crt_file": 'tls.enabled = true\ntls.key_file = "/k"\n',
    "tls.key_file": 'tls.enabled = true\ntls.crt_file = "/c"\n',
    "tls.key_pass": 'tls.enabled = true\ntls.key_file = "/k"\ntls.crt_file = "/c"\n',
    "tls.ca_file": "tls.enabled = true\n",
    "tls.verify_hostname": "tls.enabled = true\n",
    "tls.server_name": "tls.enabled = true\n",
    "autocreate.partitions": "topics_autocreate = true\n",
    "autocreate.replication_factor": "topics_autocreate = true\n",
    "gap_markers_topic": "gap_markers = true\n",
    "dead_letter.max_size": 'dead_letter.file = "/d"\n',
    // The example of a topic depends on the event.
    ...(group.type === "kafka" ? { "gap_markers": 'gap_markers_topic = "gaps"\n' } : {}),
  };
  for (const each of Object.keys(transactionOptions)) needs[each] = 'delivery = "transactional"\n';
  const line = `${spelling} = ${value}\n${needs[key] ?? ""}`;
  return completeConfig(group, key, line);
}

/** What the options of OAUTHBEARER and AWS_MSK_IAM need. */
function securityNeeds(): Record<string, string> {
  const oauth = 'tls.enabled = true\nsasl.enabled = true\nsasl.mechanism = "OAUTHBEARER"\n';
  const endpoint = 'sasl.oauthbearer.token_endpoint_url = "https://id.example.org/token"\n';
  const id = 'sasl.oauthbearer.client_id = "c"\n';
  const secret = 'sasl.oauthbearer.client_secret = "s"\n';
  const asking = oauth + endpoint + id + secret;
  const aws = 'tls.enabled = true\nsasl.enabled = true\nsasl.mechanism = "AWS_MSK_IAM"\n';
  const region = 'sasl.aws.region = "eu-central-1"\n';
  return {
    "sasl.oauthbearer.token": oauth,
    "sasl.oauthbearer.token_file": oauth,
    "sasl.oauthbearer.token_endpoint_url": oauth + id + secret,
    "sasl.oauthbearer.client_id": oauth + endpoint + secret,
    "sasl.oauthbearer.client_secret": oauth + endpoint + id,
    "sasl.oauthbearer.scope": asking,
    "sasl.oauthbearer.audience": asking,
    "sasl.oauthbearer.ca_file": asking,
    "sasl.oauthbearer.extensions": asking,
    "sasl.aws.region": aws,
    "sasl.aws.profile": aws + region,
    "sasl.aws.assume_role": aws + region,
  };
}
