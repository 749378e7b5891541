import { BrokerSender, type BrokerSenderOptions } from "./broker_sender.ts";
import type { KafkaError } from "./errors.ts";
import type { PartitionSender } from "./partition_sender.ts";
import type { ProduceBatch } from "./produce_batch.ts";
import type { ProduceResult } from "./protocol/produce.ts";

export interface BrokerSendersOptions
  extends Omit<BrokerSenderOptions, "nodeId" | "onAnswer" | "onFailure" | "onUnreachable"> {
  readonly onAnswer: (
    queue: PartitionSender,
    batch: ProduceBatch,
    result: ProduceResult | null,
    nodeId: number,
  ) => void;
  readonly onFailure: (
    queue: PartitionSender,
    batch: ProduceBatch,
    error: KafkaError,
    nodeId: number,
  ) => void;
  readonly onUnreachable: (nodeId: number, error: KafkaError) => void;
}

/** A sender for each broker, made when it is needed. */
export class BrokerSenders {
  readonly #options: BrokerSendersOptions;
  readonly #senders = new Map<number, BrokerSender>();

  constructor(options: BrokerSendersOptions) {
    this.#options = options;
  }

  /** Sends the heads of these partitions, which this broker leads. */
  send(nodeId: number, queues: readonly PartitionSender[]): void {
    let sender = this.#senders.get(nodeId);
    if (sender === undefined) {
      const options = this.#options;
      sender = new BrokerSender({
        ...options,
        nodeId,
        onAnswer: (queue, batch, result) => options.onAnswer(queue, batch, result, nodeId),
        onFailure: (queue, batch, error) => options.onFailure(queue, batch, error, nodeId),
        onUnreachable: (error) => options.onUnreachable(nodeId, error),
      });
      this.#senders.set(nodeId, sender);
    }
    sender.send(queues);
  }

  /** Begins anew with a broker. What is in flight there is answered, or fails, all the same. */
  forget(nodeId: number): void {
    this.#senders.get(nodeId)?.close();
    this.#senders.delete(nodeId);
  }

  /** As `BrokerSender.waitUntilRead`, of all brokers. */
  async waitUntilRead(): Promise<void> {
    await Promise.all([...this.#senders.values()].map((sender) => sender.waitUntilRead()));
  }

  close(): void {
    for (const sender of this.#senders.values()) sender.close();
  }
}
