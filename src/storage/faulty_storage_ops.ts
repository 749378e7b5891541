import { FaultInjector } from "../telemetry/fault_injector.ts";
import type { FileFaults } from "../telemetry/test_knobs.ts";
import type { StorageOps } from "./storage_ops.ts";

/**
 * Storage operations of which some fail, for a test build: a failed call does nothing but throw the fault's error. "open" counts calls that open
 * for writing or reading, "sync" those of files and folders, "unlink" what removes a file.
 *
 * Counts are of this object: who writes has to do so on the thread that made it (`DirectWriter`).
 */
export function faultyStorageOps(ops: StorageOps, faults: FileFaults): StorageOps {
  const injector = new FaultInjector(faults);
  /** What the open files were opened as. */
  const paths = new Map<number, string>();
  const opened = (path: string, fd: number) => {
    paths.set(fd, path);
    return fd;
  };
  return {
    ...ops,
    openRead(path) {
      injector.call("open", path);
      return opened(path, ops.openRead(path));
    },
    openWrite(path) {
      injector.call("open", path);
      return opened(path, ops.openWrite(path));
    },
    read(fd, target, offset, length, position) {
      injector.call("read", paths.get(fd) ?? "");
      return ops.read(fd, target, offset, length, position);
    },
    write(fd, source, offset, length, position) {
      injector.call("write", paths.get(fd) ?? "");
      return ops.write(fd, source, offset, length, position);
    },
    dataSync(fd) {
      injector.call("sync", paths.get(fd) ?? "");
      ops.dataSync(fd);
    },
    syncDir(dir) {
      injector.call("sync", dir);
      ops.syncDir(dir);
    },
    close(fd) {
      paths.delete(fd);
      ops.close(fd);
    },
    remove(path) {
      injector.call("unlink", path);
      ops.remove(path);
    },
  };
}
