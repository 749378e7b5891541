import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Reads a topic from its beginning to the end that it has when asked. */
final class TopicReads {
    private TopicReads() {}

    /**
     * Writes every record to a file: partition int32, offset int64, timestamp int64, timestamp type int8, key length int32 (-1: null),
     * key, value length, value, header count int32, and for each header name length, name, value length, value; all big-endian.
     */
    static JsonNode read(String bootstrap, JsonNode command) throws IOException {
        long deadlineNs = System.nanoTime() + command.get("timeoutMs").asLong() * 1_000_000;
        ObjectNode result = Reader.JSON.createObjectNode();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, command);
             RecordFile file = new RecordFile(Path.of(command.get("file").asText()))) {
            List<TopicPartition> partitions = partitions(consumer, command.get("topic").asText());
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            consumer.assign(partitions);
            seek(consumer, partitions, command.get("from"));
            long count = 0;
            while (!reached(consumer, ends)) {
                if (System.nanoTime() > deadlineNs) throw new IOException("Not read to the end in time: " + count + " records so far");
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    if (record.offset() >= ends.get(new TopicPartition(record.topic(), record.partition()))) continue;
                    file.write(record);
                    count++;
                }
            }
            result.put("count", count);
            result.set("ends", byPartition(ends));
        }
        return result;
    }

    /** First and end offsets of every partition. */
    static JsonNode offsets(String bootstrap, JsonNode command) {
        ObjectNode result = Reader.JSON.createObjectNode();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, command)) {
            List<TopicPartition> partitions = partitions(consumer, command.get("topic").asText());
            result.set("begins", byPartition(consumer.beginningOffsets(partitions)));
            result.set("ends", byPartition(consumer.endOffsets(partitions)));
        }
        return result;
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, JsonNode command) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "earliest");
        properties.put("isolation.level", command.get("isolation").asText());
        properties.put("allow.auto.create.topics", "false");
        properties.put("max.poll.records", "20000");
        properties.put("max.partition.fetch.bytes", "8388608");
        properties.put("fetch.max.bytes", "67108864");
        properties.put("fetch.max.wait.ms", "10"); // closing waits for a fetch that is under way
        properties.put("enable.metrics.push", "false");
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static List<TopicPartition> partitions(KafkaConsumer<byte[], byte[]> consumer, String topic) {
        return consumer.partitionsFor(topic).stream()
            .map(info -> new TopicPartition(topic, info.partition()))
            .collect(Collectors.toList());
    }

    private static void seek(KafkaConsumer<byte[], byte[]> consumer, List<TopicPartition> partitions, JsonNode from) {
        for (TopicPartition partition : partitions) {
            JsonNode offset = from == null ? null : from.get(String.valueOf(partition.partition()));
            if (offset == null) consumer.seekToBeginning(List.of(partition));
            else consumer.seek(partition, offset.asLong());
        }
    }

    private static boolean reached(KafkaConsumer<byte[], byte[]> consumer, Map<TopicPartition, Long> ends) {
        for (Map.Entry<TopicPartition, Long> end : ends.entrySet()) {
            if (end.getValue() > 0 && consumer.position(end.getKey()) < end.getValue()) return false;
        }
        return true;
    }

    private static ObjectNode byPartition(Map<TopicPartition, Long> offsets) {
        ObjectNode node = Reader.JSON.createObjectNode();
        offsets.forEach((partition, offset) -> node.put(String.valueOf(partition.partition()), offset));
        return node;
    }

    /** A file of records, written in large pieces. */
    private static final class RecordFile implements AutoCloseable {
        private static final int BUFFER_BYTES = 1 << 20;
        private static final int FIXED_BYTES = 4 + 8 + 8 + 1 + 4;

        private final FileChannel channel;
        private final ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);

        RecordFile(Path path) throws IOException {
            channel = FileChannel.open(path, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING, StandardOpenOption.WRITE);
        }

        void write(ConsumerRecord<byte[], byte[]> record) throws IOException {
            room(FIXED_BYTES);
            buffer.putInt(record.partition()).putLong(record.offset()).putLong(record.timestamp());
            buffer.put((byte) record.timestampType().id);
            bytes(record.key());
            bytes(record.value());
            room(4);
            buffer.putInt(record.headers().toArray().length);
            for (Header header : record.headers()) {
                bytes(header.key().getBytes(StandardCharsets.UTF_8));
                bytes(header.value());
            }
        }

        private void bytes(byte[] value) throws IOException {
            room(4);
            if (value == null) {
                buffer.putInt(-1);
                return;
            }
            buffer.putInt(value.length);
            for (int done = 0; done < value.length;) {
                room(1);
                int length = Math.min(buffer.remaining(), value.length - done);
                buffer.put(value, done, length);
                done += length;
            }
        }

        private void room(int sizeBytes) throws IOException {
            if (buffer.remaining() < sizeBytes) flush();
        }

        private void flush() throws IOException {
            buffer.flip();
            while (buffer.hasRemaining()) channel.write(buffer);
            buffer.clear();
        }

        @Override
        public void close() throws IOException {
            flush();
            channel.close();
        }
    }
}
