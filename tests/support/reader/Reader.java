import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;

/**
 * The tests' own view of a cluster, by the Java client and nothing of shipper's: reads topics, changes them, asks brokers.
 *
 * One JSON object a line on standard input, {"id", "verb", "bootstrap", ...}; one a line on standard output, {"id", "result"} or
 * {"id", "error"}. Commands are done in order. Ends with its input. tests/support/kafka_reader.ts is the other side.
 */
public final class Reader {
    static final ObjectMapper JSON = new ObjectMapper();

    private final Map<String, Admin> admins = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        Runtime.getRuntime().addShutdownHook(new Thread(Reader::removeTempDir));
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.setOut(System.err); // what libraries print must not stand between the answers
        Reader reader = new Reader();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            JsonNode command = JSON.readTree(line);
            ObjectNode answer = JSON.createObjectNode();
            answer.set("id", command.get("id"));
            try {
                answer.set("result", reader.run(command));
            } catch (Exception | LinkageError error) {
                Throwable cause = error instanceof java.util.concurrent.ExecutionException ? error.getCause() : error;
                answer.put("error", cause.getClass().getSimpleName() + ": " + cause.getMessage());
            }
            answers.println(JSON.writeValueAsString(answer));
        }
        System.exit(0); // without closing the clients: a broker that is gone would hold the end up
    }

    /** The folder was made for this process alone; native libraries are unpacked into it. */
    private static void removeTempDir() {
        File dir = new File(System.getProperty("java.io.tmpdir"));
        File[] files = dir.listFiles();
        if (files != null) for (File file : files) file.delete();
        dir.delete();
    }

    private JsonNode run(JsonNode command) throws Exception {
        String bootstrap = command.get("bootstrap").asText();
        switch (command.get("verb").asText()) {
            case "read":
                return TopicReads.read(bootstrap, command);
            case "offsets":
                return TopicReads.offsets(bootstrap, command);
            case "produce":
                return TopicWrites.produce(bootstrap, command);
            case "forget":
                // The cluster ends: stop its clients from dialling it for ever.
                Admin known = admins.remove(bootstrap);
                if (known != null) known.close(java.time.Duration.ZERO);
                return null;
            default:
                return AdminCommands.run(admin(bootstrap), command);
        }
    }

    private Admin admin(String bootstrap) {
        return admins.computeIfAbsent(bootstrap, servers -> {
            Properties properties = new Properties();
            properties.put("bootstrap.servers", servers);
            properties.put("request.timeout.ms", "10000");
            properties.put("default.api.timeout.ms", "30000");
            properties.put("metadata.max.age.ms", "1000");
            return Admin.create(properties);
        });
    }
}
