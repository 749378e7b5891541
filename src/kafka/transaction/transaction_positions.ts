/** A stored position that changed. */
export interface PositionChange {
  /** Of the stream, unique among those of a sink: "source\0stream id". */
  readonly key: string;
  /** What a restart needs of it; null: it is forgotten. */
  readonly value: Buffer | null;
}

/**
 * The positions of a sink that stores them in Kafka, as its producer sees them. A line is covered when its batch is in the transaction that is
 * about to be committed, and its position is written in the same one.
 */
export interface TransactionPositions {
  /** Called whenever something has changed that a restart should know, whether lines are sent or not. */
  onChange: () => void;
  /** Something is to be written. */
  readonly hasChanges: boolean;
  /** Of a stream that nothing is stored of: a file that is rotated after a crash is only found by what is stored of it. */
  readonly hasNew: boolean;
  /** What an earlier run has stored, by key. Called once, before anything is read. Throws an Error when it cannot be read. */
  restore(stored: ReadonlyMap<string, Buffer>): void;
  /** Lines of this stream were covered. */
  touch(streamNumber: number): void;
  /** Brings in what would be told by `onChange` a little later. */
  flush(): void;
  /** What has to be written to be up to date: all that changed since the last call that was followed by `stored`. */
  takeChanges(): PositionChange[];
  /** The transaction with what `takeChanges` gave last is committed. */
  stored(): void;
  /** It is not: `takeChanges` gives it again. */
  notStored(): void;
  /** Nothing of it is stored any more: the topic was deleted and made again. */
  changeAll(): void;
}
