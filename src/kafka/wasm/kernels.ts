// AssemblyScript, not TypeScript: see README.md in this folder.
export { crc32c, crc32cPrepare } from "./crc32c";
export { lz4Frame } from "./lz4";
export { snappyXerial } from "./snappy";
