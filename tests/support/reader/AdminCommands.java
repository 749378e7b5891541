import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.UserScramCredentialAlteration;
import org.apache.kafka.clients.admin.UserScramCredentialDeletion;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.PreferredLeaderNotAvailableException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/** Changes to a cluster, each of them finished (not only accepted) when the answer comes. */
final class AdminCommands {
    private static final long POLL_MS = 10;
    private static final long WAIT_TIMEOUT_MS = 30_000;

    private AdminCommands() {}

    static JsonNode run(Admin admin, JsonNode command) throws Exception {
        switch (command.get("verb").asText()) {
            case "createTopic": createTopic(admin, command); return null;
            case "deleteTopic": deleteTopic(admin, topic(command)); return null;
            case "describeTopic": return describeTopic(admin, topic(command));
            case "addPartitions": addPartitions(admin, topic(command), command.get("total").asInt()); return null;
            case "alterConfigs": alterConfigs(admin, command); return null;
            case "reassign": reassign(admin, command); return null;
            case "electLeaders": electLeaders(admin, topic(command)); return null;
            case "deleteRecords": deleteRecords(admin, command); return null;
            case "addAcl": admin.createAcls(List.of(acl(command))).all().get(); return null;
            case "removeAcl": admin.deleteAcls(List.of(acl(command).toFilter())).all().get(); return null;
            case "removeAcls": admin.deleteAcls(List.of(AclBindingFilter.ANY)).all().get(); return null;
            case "setScram": setScram(admin, command); return null;
            case "setQuota": setQuota(admin, command); return null;
            case "describeProducers": return describeProducers(admin, command);
            default: throw new IllegalArgumentException("Unknown verb");
        }
    }

    private static String topic(JsonNode command) {
        return command.get("topic").asText();
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    private static void waitUntil(String what, Condition condition) throws Exception {
        long deadlineMs = System.currentTimeMillis() + WAIT_TIMEOUT_MS;
        while (!condition.holds()) {
            if (System.currentTimeMillis() > deadlineMs) throw new IllegalStateException("Waited in vain until " + what);
            Thread.sleep(POLL_MS);
        }
    }

    private static TopicDescription describe(Admin admin, String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    /** The topic's description, or null while it is unknown. */
    private static TopicDescription describeIfKnown(Admin admin, String topic) throws Exception {
        try {
            return describe(admin, topic);
        } catch (ExecutionException error) {
            if (error.getCause() instanceof UnknownTopicOrPartitionException) return null;
            throw error;
        }
    }

    private static boolean isLed(TopicDescription description, int partitionCount) {
        return description != null && description.partitions().size() == partitionCount
            && description.partitions().stream().allMatch(partition -> partition.leader() != null && !partition.leader().isEmpty());
    }

    private static void createTopic(Admin admin, JsonNode command) throws Exception {
        NewTopic made;
        if (command.hasNonNull("assignment")) {
            Map<Integer, List<Integer>> replicas = new HashMap<>();
            for (JsonNode brokers : command.get("assignment")) replicas.put(replicas.size(), integers(brokers));
            made = new NewTopic(topic(command), replicas);
        } else {
            made = new NewTopic(topic(command), command.get("partitions").asInt(), (short) command.get("replication").asInt());
        }
        Map<String, String> configs = new HashMap<>();
        command.get("configs").properties().forEach(entry -> configs.put(entry.getKey(), entry.getValue().asText()));
        admin.createTopics(List.of(made.configs(configs))).all().get();
        int count = command.hasNonNull("assignment") ? command.get("assignment").size() : command.get("partitions").asInt();
        waitUntil("every partition has a leader", () -> isLed(describeIfKnown(admin, topic(command)), count));
    }

    private static void deleteTopic(Admin admin, String topic) throws Exception {
        admin.deleteTopics(List.of(topic)).all().get();
        waitUntil("the topic is gone", () -> describeIfKnown(admin, topic) == null);
    }

    private static void addPartitions(Admin admin, String topic, int total) throws Exception {
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(total))).all().get();
        waitUntil("every partition has a leader", () -> isLed(describe(admin, topic), total));
    }

    private static JsonNode describeTopic(Admin admin, String topic) throws Exception {
        ArrayNode partitions = Reader.JSON.createArrayNode();
        for (TopicPartitionInfo info : describe(admin, topic).partitions()) {
            ObjectNode partition = partitions.addObject();
            partition.put("partition", info.partition());
            partition.put("leader", info.leader() == null ? -1 : info.leader().id());
            ArrayNode replicas = partition.putArray("replicas");
            info.replicas().forEach(node -> replicas.add(node.id()));
            ArrayNode isr = partition.putArray("isr");
            info.isr().forEach(node -> isr.add(node.id()));
        }
        return partitions;
    }

    private static void alterConfigs(Admin admin, JsonNode command) throws Exception {
        ConfigResource.Type type = command.get("resource").asText().equals("topic") ? ConfigResource.Type.TOPIC : ConfigResource.Type.BROKER;
        ConfigResource resource = new ConfigResource(type, command.get("name").asText());
        List<AlterConfigOp> operations = new ArrayList<>();
        command.get("configs").properties().forEach(entry -> operations.add(new AlterConfigOp(
            new ConfigEntry(entry.getKey(), entry.getValue().isNull() ? null : entry.getValue().asText()),
            entry.getValue().isNull() ? AlterConfigOp.OpType.DELETE : AlterConfigOp.OpType.SET)));
        admin.incrementalAlterConfigs(Map.<ConfigResource, Collection<AlterConfigOp>>of(resource, operations)).all().get();
    }

    /** Moves a partition's replicas; the first one becomes the leader. */
    private static void reassign(Admin admin, JsonNode command) throws Exception {
        TopicPartition partition = new TopicPartition(topic(command), command.get("partition").asInt());
        List<Integer> replicas = integers(command.get("replicas"));
        admin.alterPartitionReassignments(Map.of(partition, Optional.of(new NewPartitionReassignment(replicas)))).all().get();
        waitUntil("the reassignment is done", () ->
            admin.listPartitionReassignments(Set.of(partition)).reassignments().get().isEmpty());
        waitUntil("the first replica leads", () -> {
            try {
                elect(admin, Set.of(partition));
            } catch (ExecutionException e) {
                // It is not in sync yet.
                if (!(e.getCause() instanceof PreferredLeaderNotAvailableException)) throw e;
            }
            return describe(admin, topic(command)).partitions().get(partition.partition()).leader().id() == replicas.get(0);
        });
    }

    private static void electLeaders(Admin admin, String topic) throws Exception {
        Set<TopicPartition> partitions = new java.util.HashSet<>();
        for (TopicPartitionInfo info : describe(admin, topic).partitions()) partitions.add(new TopicPartition(topic, info.partition()));
        elect(admin, partitions);
    }

    private static void elect(Admin admin, Set<TopicPartition> partitions) throws Exception {
        Map<TopicPartition, Optional<Throwable>> failures = admin.electLeaders(ElectionType.PREFERRED, partitions).partitions().get();
        for (Optional<Throwable> failure : failures.values()) {
            if (failure.isPresent() && !(failure.get() instanceof ElectionNotNeededException)) throw new ExecutionException(failure.get());
        }
    }

    private static void deleteRecords(Admin admin, JsonNode command) throws Exception {
        TopicPartition partition = new TopicPartition(topic(command), command.get("partition").asInt());
        admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(command.get("beforeOffset").asLong()))).all().get();
    }

    private static AclBinding acl(JsonNode command) {
        ResourceType type = ResourceType.fromString(command.get("resource").asText());
        return new AclBinding(
            new ResourcePattern(type, command.get("name").asText(),
                command.path("isPrefixed").asBoolean(false) ? PatternType.PREFIXED : PatternType.LITERAL),
            new AccessControlEntry("User:" + command.get("user").asText(), "*",
                AclOperation.fromString(command.get("operation").asText()), AclPermissionType.ALLOW));
    }

    /** Sets or, with a null password, removes what a user logs in with. */
    private static void setScram(Admin admin, JsonNode command) throws Exception {
        String user = command.get("user").asText();
        ScramMechanism mechanism = ScramMechanism.fromMechanismName(command.get("mechanism").asText());
        UserScramCredentialAlteration change = command.get("password").isNull()
            ? new UserScramCredentialDeletion(user, mechanism)
            : new UserScramCredentialUpsertion(user, new ScramCredentialInfo(mechanism, 4096), command.get("password").asText());
        admin.alterUserScramCredentials(List.of(change)).all().get();
    }

    private static void setQuota(Admin admin, JsonNode command) throws Exception {
        ClientQuotaEntity entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, command.get("clientId").asText()));
        Double limit = command.get("value").isNull() ? null : Double.valueOf(command.get("value").asDouble());
        ClientQuotaAlteration.Op change = new ClientQuotaAlteration.Op(command.get("quota").asText(), limit);
        admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(change)))).all().get();
    }

    private static JsonNode describeProducers(Admin admin, JsonNode command) throws Exception {
        TopicPartition partition = new TopicPartition(topic(command), command.get("partition").asInt());
        ArrayNode producers = Reader.JSON.createArrayNode();
        for (ProducerState state : admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers()) {
            ObjectNode producer = producers.addObject();
            producer.put("producerId", state.producerId());
            producer.put("producerEpoch", state.producerEpoch());
            producer.put("lastSequence", state.lastSequence());
            producer.put("lastTimestamp", state.lastTimestamp());
        }
        return producers;
    }

    private static List<Integer> integers(JsonNode array) {
        List<Integer> values = new ArrayList<>();
        array.forEach(node -> values.add(node.asInt()));
        return values;
    }
}
