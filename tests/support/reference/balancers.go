// Partitions that segmentio/kafka-go's balancers choose. Reads lines "PARTITIONS KEY" from stdin, KEY in hexadecimal, "-" for none, "." for
// an empty one. Prints for each what Hash, ReferenceHash, CRC32Balancer and Murmur2Balancer (both Consistent, and both not) say.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go"
)

func main() {
	balancers := []kafka.Balancer{
		&kafka.Hash{},
		&kafka.ReferenceHash{},
		kafka.CRC32Balancer{Consistent: true},
		kafka.CRC32Balancer{},
		kafka.Murmur2Balancer{Consistent: true},
		kafka.Murmur2Balancer{},
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		parts := strings.Fields(lines.Text())
		count, err := strconv.Atoi(parts[0])
		if err != nil {
			panic(err)
		}
		var key []byte
		switch parts[1] {
		case "-":
		case ".":
			key = []byte{}
		default:
			if key, err = hex.DecodeString(parts[1]); err != nil {
				panic(err)
			}
		}
		partitions := make([]int, count)
		for i := range partitions {
			partitions[i] = i
		}
		for i, balancer := range balancers {
			if i > 0 {
				fmt.Fprint(out, " ")
			}
			fmt.Fprint(out, balancer.Balance(kafka.Message{Key: key}, partitions...))
		}
		fmt.Fprintln(out)
	}
}
