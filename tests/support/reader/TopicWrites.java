import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Writes records as another program would: what tests need beside shipper's own. */
final class TopicWrites {
    private TopicWrites() {}

    /** {"topic", "properties", "transaction": null | "commit" | "abort", "records": [{"partition", "timestampMs", "key", "value", "headers"}]} */
    static JsonNode produce(String bootstrap, JsonNode command) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("enable.metrics.push", "false");
        command.get("properties").properties().forEach(entry -> properties.put(entry.getKey(), entry.getValue().asText()));
        String transaction = command.get("transaction").isNull() ? null : command.get("transaction").asText();
        if (transaction != null) properties.putIfAbsent("transactional.id", "reader-" + System.nanoTime());
        try (KafkaProducer<byte[], byte[]> producer =
                 new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            if (transaction != null) {
                producer.initTransactions();
                producer.beginTransaction();
            }
            List<Future<?>> sent = new ArrayList<>();
            for (JsonNode record : command.get("records")) sent.add(producer.send(record(command.get("topic").asText(), record)));
            producer.flush();
            for (Future<?> future : sent) future.get();
            if ("commit".equals(transaction)) producer.commitTransaction();
            if ("abort".equals(transaction)) producer.abortTransaction();
        }
        return null;
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, JsonNode record) throws Exception {
        ProducerRecord<byte[], byte[]> made = new ProducerRecord<>(
            topic,
            record.hasNonNull("partition") ? Integer.valueOf(record.get("partition").asInt()) : null,
            record.hasNonNull("timestampMs") ? Long.valueOf(record.get("timestampMs").asLong()) : null,
            bytes(record.get("key")),
            bytes(record.get("value")));
        if (record.has("headers")) {
            for (JsonNode header : record.get("headers")) made.headers().add(header.get(0).asText(), bytes(header.get(1)));
        }
        return made;
    }

    /** Base64 text, or null. */
    private static byte[] bytes(JsonNode node) throws Exception {
        return node == null || node.isNull() ? null : node.binaryValue();
    }
}
