import { FaultInjector } from "../telemetry/fault_injector.ts";
import type { FileFaults } from "../telemetry/test_knobs.ts";
import type { FileOps } from "./file_ops.ts";

/** File operations of which some fail, for a test build: a failed call does nothing but reject with the fault's error. */
export function faultyFileOps(ops: FileOps, faults: FileFaults): FileOps {
  const injector = new FaultInjector(faults);
  /** What the open files were opened as. */
  const paths = new Map<number, string>();
  return {
    ...ops,
    async open(path) {
      injector.call("open", path);
      const fd = await ops.open(path);
      paths.set(fd, path);
      return fd;
    },
    async read(fd, target, length, position) {
      injector.call("read", paths.get(fd) ?? "");
      return await ops.read(fd, target, length, position);
    },
    close(fd) {
      paths.delete(fd);
      ops.close(fd);
    },
  };
}
