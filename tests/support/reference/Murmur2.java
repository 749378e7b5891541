import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.Utils;

/** Partitions that Kafka's Java client chooses. Reads lines "PARTITIONS KEY", KEY in hexadecimal, "." for an empty one; prints hash and partition. */
public class Murmur2 {
  public static void main(String[] args) throws Exception {
    var in = new BufferedReader(new InputStreamReader(System.in));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String[] parts = line.split(" ");
      byte[] key = parts[1].equals(".") ? new byte[0] : HexFormat.of().parseHex(parts[1]);
      System.out.println(Utils.murmur2(key) + " " + BuiltInPartitioner.partitionForKey(key, Integer.parseInt(parts[0])));
    }
  }
}
