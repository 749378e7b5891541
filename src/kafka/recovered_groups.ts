import { sequenceAfter } from "./batch_header.ts";
import type { RecoveredIntent } from "./intent_log.ts";
import type { DoubtfulBatch } from "./resolve/verdict.ts";

/** What has to be known of a batch of an earlier run to find out what became of it. */
export function doubtOf(intent: RecoveredIntent): DoubtfulBatch {
  const { producer, count, baseTimestampMs, hintOffset, clusterId, topicId } = intent;
  return { producer, count, baseTimestampMs, hintOffset, clusterId, topicId, sentMs: baseTimestampMs };
}

/** Runs of intents of the same producer id and epoch whose sequences follow each other, in order. */
export function byProducer(intents: readonly RecoveredIntent[]): RecoveredIntent[][] {
  const groups: RecoveredIntent[][] = [];
  for (const intent of intents) {
    const before = groups.at(-1)?.at(-1);
    const last = before?.producer;
    const { producerIdHigh, producerIdLow, epoch } = intent.producer;
    const isSame = last !== undefined && last.producerIdHigh === producerIdHigh &&
      last.producerIdLow === producerIdLow && last.epoch === epoch &&
      sequenceAfter(last.baseSequence, before!.count) === intent.producer.baseSequence;
    if (isSame) groups.at(-1)!.push(intent);
    else groups.push([intent]);
  }
  return groups;
}
