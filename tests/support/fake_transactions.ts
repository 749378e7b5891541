import { ApiKey } from "../../src/kafka/protocol/api_keys.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { WireReader, WireWriter } from "../../src/kafka/protocol/wire.ts";
import type { FakeAnswer, FakeBroker, FakeRequest } from "./fake_broker.ts";
import type { FakeKafka } from "./fake_kafka.ts";
import type { SentBatch } from "./produce_wire.ts";
import { readBatchHeader } from "./record_batches.ts";

/** What happens to a request to the coordinator. */
export type CoordinatorFault =
  /** Not done, and not answered. */
  | "cut-before"
  /** Done, and not answered. */
  | "cut-after"
  /** Refused. */
  | number;

interface TransactionState {
  readonly producerId: bigint;
  epoch: number;
  /** "topic/partition" of the open transaction. */
  readonly partitions: Set<string>;
  /** Of the last transaction; "Empty" after InitProducerId. */
  ending: "Empty" | "CompleteCommit" | "CompleteAbort";
}

/** The coordinator of all transactional ids of a FakeKafka: its first broker. Markers are written at once. */
export class FakeTransactions {
  readonly #kafka: FakeKafka;
  readonly #states = new Map<string, TransactionState>();
  #nextProducerId = 9_000n;
  /** transaction.version 2: the epoch changes with every transaction, and partitions are added by Produce. */
  isVersion2 = true;
  /** Called for each request to the coordinator; undefined: it goes well. */
  fault: (apiKey: number) => CoordinatorFault | undefined = () => undefined;
  /** Called for each partition when a transaction ends; true: its marker is never written, as Kafka 4.3 does it to a partition without a leader. */
  losesMarker: (place: string) => boolean = () => false;
  /** Transactions that were ended by their producer: true for those that were committed. */
  readonly ended: boolean[] = [];
  /** The same, and those that were aborted without having been asked. */
  readonly endings: boolean[] = [];

  constructor(kafka: FakeKafka) {
    this.#kafka = kafka;
  }

  serve(broker: FakeBroker): void {
    broker.on(ApiKey.FindCoordinator, (request) => this.#answer(request, 3, () => this.#find()))
      .on(ApiKey.AddPartitionsToTxn, (request) => this.#answer(request, 3, (reader) => this.#add(reader)))
      .on(
        ApiKey.EndTxn,
        (request) => this.#answer(request, 3, (reader) => this.#end(reader, request.apiVersion)),
      )
      .on(
        ApiKey.DescribeTransactions,
        (request) => this.#answer(request, 0, (reader) => this.#describe(reader)),
      );
  }

  /** InitProducerId with a transactional id. */
  init(request: FakeRequest): FakeAnswer {
    return this.#answer(request, 2, (reader) => {
      const id = reader.string();
      const open = this.#states.get(id);
      if (open !== undefined && open.partitions.size > 0) {
        // It is ended first, under an epoch that nobody gets.
        this.#mark(open, false);
        open.epoch++;
        return (writer) =>
          writer.int32(0).int16(ErrorCode.CONCURRENT_TRANSACTIONS).int64(-1).int16(-1).tags();
      }
      const { producerId, epoch } = this.takeOver(id);
      return (writer, errorCode) =>
        writer.int32(0).int16(errorCode).int64(Number(producerId)).int16(epoch).tags();
    });
  }

  /** As another process does: what is open is aborted, and the next epoch begins. */
  takeOver(transactionalId: string): TransactionState {
    const state = this.#states.get(transactionalId) ??
      { producerId: this.#nextProducerId++, epoch: -1, partitions: new Set(), ending: "Empty" };
    this.#states.set(transactionalId, state);
    this.#mark(state, false);
    state.epoch++;
    state.ending = "Empty";
    return state;
  }

  /** What the coordinator does when the time of a transaction is over. */
  timeOut(transactionalId: string): void {
    this.takeOver(transactionalId);
  }

  /** Looks at a batch before it is appended; 0: it may be. */
  check(transactionalId: string, { topic, partition, bytes }: SentBatch): number {
    const state = this.#states.get(transactionalId);
    const { producerId, producerEpoch, attributes } = readBatchHeader(bytes);
    if ((attributes & 16) === 0) return ErrorCode.INVALID_TXN_STATE;
    if (state === undefined || state.producerId !== producerId) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    if (state.epoch !== producerEpoch) return ErrorCode.INVALID_PRODUCER_EPOCH;
    const place = `${topic}/${partition}`;
    if (!state.partitions.has(place)) {
      if (!this.isVersion2) return ErrorCode.INVALID_TXN_STATE;
      state.partitions.add(place);
    }
    this.#kafka.topics.get(topic)?.[partition]?.open(producerId);
    return 0;
  }

  #answer(
    request: FakeRequest,
    flexibleFrom: number,
    perform: (reader: WireReader) => (writer: WireWriter, errorCode: number) => void,
  ): FakeAnswer {
    const fault = this.fault(request.apiKey);
    if (fault === "cut-before") return "cut";
    const isFlexible = request.apiVersion >= flexibleFrom;
    const writer = new WireWriter(isFlexible);
    const isRefused = typeof fault === "number" && fault !== 0;
    if (isRefused && request.apiKey === ApiKey.EndTxn) this.#refuseEnd(writer, fault, request.apiVersion);
    else if (isRefused && request.apiKey === ApiKey.InitProducerId) {
      writer.int32(0).int16(fault).int64(-1).int16(-1).tags();
    } else if (isRefused && request.apiKey === ApiKey.DescribeTransactions) {
      perform(new WireReader(request.body, isFlexible))(writer, fault);
    } else if (isRefused) writer.int32(0).int16(fault).string(null).int32(-1).string("").int32(-1).tags();
    else perform(new WireReader(request.body, isFlexible))(writer, 0);
    return fault === "cut-after" ? "cut" : { body: Buffer.from(writer.slice()) };
  }

  #refuseEnd(writer: WireWriter, errorCode: number, apiVersion: number): void {
    writer.int32(0).int16(errorCode);
    if (apiVersion >= 5) writer.int64(-1).int16(-1);
    writer.tags();
  }

  #find() {
    const broker = this.#kafka.brokers[0]!;
    return (writer: WireWriter, errorCode: number) =>
      void writer.int32(0).int16(errorCode).string(null).int32(1).string("127.0.0.1").int32(broker.port)
        .tags();
  }

  #add(reader: WireReader) {
    const state = this.#own(reader);
    const topics: { name: string; partitions: number[] }[] = [];
    const count = reader.arrayLength(1);
    for (let t = 0; t < count; t++) {
      topics.push({ name: reader.string(), partitions: reader.int32Array() });
      reader.tags();
    }
    const code = typeof state === "number" ? state : 0;
    for (const { name, partitions } of topics) {
      for (const id of partitions) if (typeof state !== "number") state.partitions.add(`${name}/${id}`);
    }
    return (writer: WireWriter) => {
      writer.int32(0).arrayLength(topics.length);
      for (const { name, partitions } of topics) {
        writer.string(name).arrayLength(partitions.length);
        for (const id of partitions) writer.int32(id).int16(code).tags();
        writer.tags();
      }
      writer.tags();
    };
  }

  #end(reader: WireReader, apiVersion: number) {
    const state = this.#own(reader);
    const isCommitted = reader.boolean();
    const code = typeof state === "number" ? state : 0;
    if (typeof state !== "number") {
      this.ended.push(isCommitted);
      this.#mark(state, isCommitted);
      if (apiVersion >= 5) state.epoch++;
    }
    return (writer: WireWriter) => {
      writer.int32(0).int16(code);
      if (apiVersion >= 5) {
        writer.int64(typeof state === "number" ? -1 : Number(state.producerId));
        writer.int16(typeof state === "number" ? -1 : state.epoch);
      }
      writer.tags();
    };
  }

  #describe(reader: WireReader) {
    reader.arrayLength(1);
    const id = reader.string();
    const state = this.#states.get(id);
    const isOpen = state !== undefined && state.partitions.size > 0;
    return (writer: WireWriter, errorCode: number) => {
      const code = state === undefined ? ErrorCode.TRANSACTIONAL_ID_NOT_FOUND : errorCode;
      writer.int32(0).arrayLength(1).int16(code).string(id).string(
        isOpen ? "Ongoing" : state?.ending ?? "Dead",
      );
      writer.int32(60_000).int64(-1).int64(Number(state?.producerId ?? -1)).int16(state?.epoch ?? -1);
      writer.arrayLength(0).tags().tags();
    };
  }

  /** transactional id | producer id | epoch: whose they are, or why not. */
  #own(reader: WireReader): TransactionState | number {
    const state = this.#states.get(reader.string());
    const producerId = BigInt(reader.int64());
    const epoch = reader.int16();
    if (state === undefined || state.producerId !== producerId) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    return state.epoch === epoch ? state : ErrorCode.PRODUCER_FENCED;
  }

  #mark(state: TransactionState, isCommitted: boolean): void {
    if (state.partitions.size > 0) this.endings.push(isCommitted);
    state.ending = isCommitted ? "CompleteCommit" : "CompleteAbort";
    for (const place of state.partitions) {
      if (this.losesMarker(place)) continue;
      const cut = place.lastIndexOf("/");
      const log = this.#kafka.topics.get(place.slice(0, cut))?.[Number(place.slice(cut + 1))];
      log?.mark(state.producerId, Math.max(state.epoch, 0), isCommitted);
    }
    state.partitions.clear();
  }
}
