import { CRC_WORK_BYTES, kernelHost, type Kernels, type SharedMemory } from "./kernels.ts";

/** Memory from elsewhere goes through a window of this size. */
const STAGING_BYTES = 65_536;

/** The polynomial, bits reversed: bit 31 is x^0. */
const POLYNOMIAL = 0x82f63b78 | 0;

interface Engine {
  readonly kernels: Kernels;
  readonly shared: SharedMemory;
  readonly work: number;
  readonly staging: Buffer;
  readonly stagingAddress: number;
}

let engine: Engine | null = null;

function startEngine(): Engine {
  const { kernels, shared } = kernelHost();
  const work = shared.addressOf(shared.allocate(CRC_WORK_BYTES));
  const staging = shared.allocate(STAGING_BYTES);
  kernels.crc32cPrepare(work);
  return { kernels, shared, work, staging, stagingAddress: shared.addressOf(staging) };
}

/** Takes the memory that the checksum needs now: later there may be none left. */
export function prepareCrc32c(): void {
  engine ??= startEngine();
}

/**
 * CRC-32C (Castagnoli) of `data[start, end)`, unsigned. `seed` is the CRC of the bytes before, so that a range can be hashed in pieces.
 * Memory of a compressor's arena is hashed where it is (about 5 GB/s), other memory through a copy (about 4 GB/s).
 */
export function crc32c(data: Buffer, start: number, end: number, seed: number = 0): number {
  engine ??= startEngine();
  const { kernels, work, staging } = engine;
  const base = engine.shared.addressOf(data);
  if (base !== 0) return kernels.crc32c(base + start, end - start, seed, work) >>> 0;
  let crc = seed;
  for (let at = start; at < end; at += STAGING_BYTES) {
    const length = Math.min(STAGING_BYTES, end - at);
    data.copy(staging, 0, at, at + length);
    crc = kernels.crc32c(engine.stagingAddress, length, crc, work);
  }
  return crc >>> 0;
}

/** Product of two polynomials of degree at most 31 modulo the CRC's; bit 31 is x^0. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (; a !== 0; a <<= 1) {
    // All ones where the top bit of `a` is set: no branch that can't be predicted.
    product ^= b & (a >> 31);
    b = (b >>> 1) ^ (POLYNOMIAL & -(b & 1));
  }
  return product;
}

/** x^(8 * 2^n) for n = 0, 1, ... 31. */
const BYTE_POWERS = bytePowers();

function bytePowers(): Int32Array {
  const powers = new Int32Array(32);
  let power = 1 << (31 - 8);
  for (let n = 0; n < 32; n++) {
    powers[n] = power;
    power = multiply(power, power);
  }
  return powers;
}

/**
 * CRC-32C of A followed by B, from the CRCs of both and the length of B in bytes (less than 4 GiB). So a batch whose header changed is
 * hashed again without reading its payload. Takes about a microsecond.
 */
export function crc32cCombine(crcA: number, crcB: number, lengthB: number): number {
  let shifted = crcA | 0;
  for (let n = 0, left = lengthB >>> 0; left !== 0; n++, left >>>= 1) {
    if ((left & 1) !== 0) shifted = multiply(BYTE_POWERS[n]!, shifted);
  }
  return (shifted ^ crcB) >>> 0;
}
