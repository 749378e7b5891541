import { closeSync, openSync, readSync } from "node:fs";

/** What the first bytes of an executable say of where it runs. */
export interface ExecutableHeader {
  readonly format: "ELF" | "Mach-O";
  readonly machine: "x64" | "arm64";
  /** The dynamic loader that an ELF file names. */
  readonly interpreter: string | null;
  /** A Mach-O file carries a code signature; macOS on arm64 starts nothing without one. */
  readonly isSigned: boolean;
}

const HEADER_BYTES_MAX = 65_536;

const ELF_MACHINES: Readonly<Record<number, ExecutableHeader["machine"]>> = { 62: "x64", 183: "arm64" };
const ELF_INTERP = 3;
const MACH_O_MAGIC_64 = 0xfeedfacf;
const MACH_O_MACHINES: Readonly<Record<number, ExecutableHeader["machine"]>> = {
  0x01000007: "x64",
  0x0100000c: "arm64",
};
const MACH_O_HEADER_BYTES = 32;
const LC_CODE_SIGNATURE = 0x1d;

const WANTED: Readonly<Record<string, Partial<ExecutableHeader>>> = {
  "linux-x64": { format: "ELF", machine: "x64", interpreter: "/lib64/ld-linux-x86-64.so.2" },
  "linux-arm64": { format: "ELF", machine: "arm64", interpreter: "/lib/ld-linux-aarch64.so.1" },
  "linux-x64-musl": { format: "ELF", machine: "x64", interpreter: "/lib/ld-musl-x86_64.so.1" },
  "linux-arm64-musl": { format: "ELF", machine: "arm64", interpreter: "/lib/ld-musl-aarch64.so.1" },
  "darwin-arm64": { format: "Mach-O", machine: "arm64", isSigned: true },
  "darwin-x64": { format: "Mach-O", machine: "x64" },
};

/** Throws when the file is not an executable for the target. */
export function checkExecutable(path: string, target: string): void {
  const header = readHeader(path);
  for (const [key, wanted] of Object.entries(WANTED[target]!)) {
    const found = header[key as keyof ExecutableHeader];
    if (found !== wanted) {
      throw new Error(`"${path}" is not for ${target}: ${key} is ${found}, not ${wanted}`);
    }
  }
}

/** Reads the header of an executable file. Throws when it is neither ELF nor Mach-O of 64 bits. */
export function readHeader(path: string): ExecutableHeader {
  const buffer = Buffer.alloc(HEADER_BYTES_MAX);
  const fd = openSync(path, "r");
  try {
    const bytes = buffer.subarray(0, readSync(fd, buffer, 0, HEADER_BYTES_MAX, 0));
    return parseHeader(bytes);
  } catch (error) {
    throw new Error(`Cannot read the header of "${path}": ${(error as Error).message}`);
  } finally {
    closeSync(fd);
  }
}

/** The same of the file's first bytes. */
export function parseHeader(bytes: Buffer): ExecutableHeader {
  if (bytes.length < MACH_O_HEADER_BYTES) throw new Error("it is too short");
  if (bytes.subarray(0, 6).equals(Buffer.from("\x7fELF\x02\x01", "latin1"))) return parseElf(bytes);
  if (bytes.readUInt32LE(0) === MACH_O_MAGIC_64) return parseMachO(bytes);
  throw new Error("it is neither a 64-bit ELF nor a 64-bit Mach-O file");
}

/**
 *     e_ident 16 | e_type 2 | e_machine 2 | e_version 4 | e_entry 8 | e_phoff 8 | e_shoff 8 | e_flags 4 | e_ehsize 2 | e_phentsize 2 | e_phnum 2
 *     program header: p_type 4 | p_flags 4 | p_offset 8 | p_vaddr 8 | p_paddr 8 | p_filesz 8 ...
 */
function parseElf(bytes: Buffer): ExecutableHeader {
  const machine = ELF_MACHINES[bytes.readUInt16LE(18)];
  if (machine === undefined) throw new Error(`ELF machine ${bytes.readUInt16LE(18)} is none of ours`);
  const tableOffset = Number(bytes.readBigUInt64LE(32));
  const entryBytes = bytes.readUInt16LE(54);
  const entryCount = bytes.readUInt16LE(56);
  let interpreter: string | null = null;
  for (let at = tableOffset; at < tableOffset + entryCount * entryBytes; at += entryBytes) {
    if (bytes.readUInt32LE(at) !== ELF_INTERP) continue;
    const start = Number(bytes.readBigUInt64LE(at + 8));
    const end = start + Number(bytes.readBigUInt64LE(at + 32));
    interpreter = bytes.toString("latin1", start, end).replace(/\0+$/, "");
  }
  return { format: "ELF", machine, interpreter, isSigned: false };
}

/**
 *     magic 4 | cputype 4 | cpusubtype 4 | filetype 4 | ncmds 4 | sizeofcmds 4 | flags 4 | reserved 4, then commands: cmd 4 | cmdsize 4 | ...
 */
function parseMachO(bytes: Buffer): ExecutableHeader {
  const machine = MACH_O_MACHINES[bytes.readUInt32LE(4)];
  if (machine === undefined) throw new Error(`Mach-O machine ${bytes.readUInt32LE(4)} is none of ours`);
  const commandCount = bytes.readUInt32LE(16);
  let isSigned = false;
  let at = MACH_O_HEADER_BYTES;
  for (let i = 0; i < commandCount; i++) {
    if (bytes.readUInt32LE(at) === LC_CODE_SIGNATURE) isSigned = true;
    at += bytes.readUInt32LE(at + 4);
  }
  return { format: "Mach-O", machine, interpreter: null, isSigned };
}
