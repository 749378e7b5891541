import fs from "node:fs";
import path from "node:path";
import type { KafkaSinkConfig } from "../config/config.ts";
import { errnoName } from "../errors.ts";
import { type CheckResult, found, passed, placeOf } from "./check_result.ts";

/** Whether the file for dead letters can be written, or made. Opens nothing. */
export function checkDeadLetterFile({ name: sink, deadLetter }: KafkaSinkConfig): CheckResult[] {
  if (deadLetter?.kind !== "file") return [];
  const { path: file, sizeBytesMax } = deadLetter;
  const place = placeOf("dead_letter.file", { sink, target: file });
  try {
    const status = fs.statSync(file, { throwIfNoEntry: false });
    if (status === undefined) {
      fs.accessSync(path.dirname(path.resolve(file)), fs.constants.W_OK | fs.constants.X_OK);
      return [passed(place, `The file for dead letters "${file}" is not there yet, and can be made`)];
    }
    if (!status.isFile()) {
      const message = `The place for dead letters "${file}" is no regular file`;
      return [found("failed", place, "no-file", message, "Set dead_letter.file to a file")];
    }
    fs.accessSync(file, fs.constants.R_OK | fs.constants.W_OK);
    if (status.size >= sizeBytesMax) {
      const message = `The file for dead letters "${file}" is full: dead_letter.max_size is ${sizeBytesMax}`;
      return [
        found(
          "failed",
          place,
          "full",
          `${message}, and events wait`,
          "Move it away, or raise dead_letter.max_size",
        ),
      ];
    }
    return [passed(place, `The file for dead letters "${file}" can be written`)];
  } catch (error) {
    const errno = errnoName(error);
    const message =
      `The file for dead letters "${file}" cannot be written by this user (${errno}): events would wait`;
    return [
      found("failed", place, errno, message, "Make its folder, and give it to the user that runs shipper"),
    ];
  }
}
