import { faultyStorageOps } from "../storage/faulty_storage_ops.ts";
import { DirectWriter, type GroupWriter } from "../storage/group_writer.ts";
import { type StorageOps, systemOps } from "../storage/storage_ops.ts";
import { fileFaults } from "../telemetry/test_knobs.ts";

/**
 * A test build may be told that storage fails. Calls are counted on one thread, so nothing is left to the Worker then; in every other build this
 * gives nothing, and what it uses is left out.
 */
export function faultyStorage(): { ops: StorageOps; writer: GroupWriter } | Record<never, never> {
  const faults = process.env.SHIPPER_TEST_BUILD ? fileFaults() : null;
  if (faults === null) return {};
  const ops = faultyStorageOps(systemOps, faults);
  return { ops, writer: new DirectWriter(ops) };
}
