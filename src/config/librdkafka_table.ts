import { librdkafkaConsumer } from "./librdkafka_consumer.ts";
import { javaProducer } from "./librdkafka_java.ts";
import { librdkafkaProducer, librdkafkaTopic } from "./librdkafka_producer.ts";
import type { Property } from "./librdkafka_property.ts";

/** The table of the Kafka sink that holds properties of other clients. */
export const PROPERTIES_KEY = "librdkafka_options";

/** Every property that is known, by its name in librdkafka or in Kafka's Java producer, in the order of the docs. */
export const kafkaProperties: ReadonlyMap<string, Property> = new Map(
  [librdkafkaProducer, librdkafkaTopic, javaProducer, librdkafkaConsumer].flatMap((each) =>
    Object.entries(each)
  ),
);
