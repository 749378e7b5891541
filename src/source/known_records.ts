import type { FileRecord } from "../checkpoint/position_file.ts";
import { devicelessKey, inodeKey, recordInodeKey } from "./file_identity.ts";
import type { FileStat } from "./file_ops.ts";
import type { TailedFile } from "./tailed_file.ts";

/** What is stored of a file. */
export function fileRecord(source: string, file: TailedFile): FileRecord {
  const [dev, ino, birthtimeNs] = file.inode.split(":") as [string, string, string];
  return {
    source,
    id: file.stream.id,
    path: file.stream.path,
    lastPath: file.place,
    dev,
    ino,
    birthtimeNs,
    generation: file.generation,
    sinceNs: String(file.sinceNs),
    fingerprintBytes: file.fingerprint.sizeBytes,
    fingerprint: file.fingerprint.hash,
  };
}

/** What is stored of a source's files, by inode: of a truncated one the newest generation. */
export class KnownRecords {
  readonly #byInode = new Map<string, FileRecord>();
  /** Without the device, whose number may change at a boot. */
  readonly #deviceless = new Map<string, FileRecord>();

  add(record: FileRecord): void {
    const inode = recordInodeKey(record);
    const known = this.#byInode.get(inode);
    if (known !== undefined && known.generation > record.generation) return;
    this.#byInode.set(inode, record);
    const key = devicelessKey(record.ino, record.birthtimeNs);
    if (key !== null) this.#deviceless.set(key, record);
  }

  of(stat: Pick<FileStat, "dev" | "ino" | "birthtimeNs">): FileRecord | null {
    const exact = this.#byInode.get(inodeKey(stat));
    if (exact !== undefined) return exact;
    const key = devicelessKey(stat.ino, stat.birthtimeNs);
    return (key === null ? undefined : this.#deviceless.get(key)) ?? null;
  }

  /** Forgets all but these. */
  keepOnly(records: Iterable<FileRecord>): void {
    this.#byInode.clear();
    this.#deviceless.clear();
    for (const record of records) this.add(record);
  }

  /** No effect when another stream has the inode by now. */
  delete(inode: string, id: string): void {
    const record = this.#byInode.get(inode);
    if (record?.id !== id) return;
    this.#byInode.delete(inode);
    const key = devicelessKey(record.ino, record.birthtimeNs);
    if (key !== null) this.#deviceless.delete(key);
  }
}
