import { closeSync, openSync, writeSync } from "node:fs";

/** "quoted": as a web server writes it. "plain": the same with apostrophes, so that nothing is escaped in JSON. */
export type Flavour = "quoted" | "plain";

const LINES_PER_WRITE = 5_000;
const SEED = 20_240_229;
const START_MS = Date.UTC(2025, 9, 10, 13, 55, 36);
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"] as const;
const METHODS = ["GET", "GET", "GET", "GET", "GET", "GET", "POST", "POST", "PUT", "DELETE"] as const;
const STATUSES = [200, 200, 200, 200, 200, 200, 200, 201, 204, 301, 304, 304, 400, 404, 499, 500] as const;
const PATHS = [
  "/",
  "/login",
  "/cart",
  "/checkout",
  "/api/v1/items/",
  "/api/v1/orders/",
  "/api/v1/users/",
  "/static/js/app.",
  "/static/img/product-",
  "/search?q=red+shoes&page=",
] as const;
/** "#" is a number. */
const REFERERS = [
  "-",
  "-",
  "https://shop.example.org/",
  "https://shop.example.org/cart",
  "https://shop.example.org/catalog/#",
  "https://www.example.com/search?q=shoes&s=#",
] as const;
const AGENTS = [
  "Mozilla/5.0 (X11; Linux x86_64; rv:#) Gecko/20100101 Firefox/#",
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/#.0.0 Safari/537.36",
  "Mozilla/5.0 (Macintosh; Intel Mac OS X #) Version/17.5",
  "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/#E148",
  "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
  "curl/8.#.0",
] as const;

/**
 * Writes `lines` lines of an access log (Combined Log Format, about 176 bytes each) and returns the file's size in bytes. The same
 * arguments always give the same bytes.
 */
export function writeAccessLog(path: string, lines: number, flavour: Flavour): number {
  const file = openSync(path, "w", 0o600);
  try {
    const random = randomNumbers(SEED);
    let sizeBytes = 0;
    for (let from = 0; from < lines; from += LINES_PER_WRITE) {
      let text = "";
      for (let i = from; i < Math.min(lines, from + LINES_PER_WRITE); i++) text += accessLine(i, random);
      if (flavour === "plain") text = text.replaceAll('"', "'");
      sizeBytes += writeWhole(file, Buffer.from(text, "latin1"));
    }
    return sizeBytes;
  } finally {
    closeSync(file);
  }
}

function writeWhole(file: number, data: Buffer): number {
  for (let at = 0; at < data.length;) at += writeSync(file, data, at);
  return data.length;
}

function accessLine(index: number, random: (below: number) => number): string {
  const ip = `10.${random(32)}.${random(256)}.${random(256)}`;
  const path = PATHS[random(PATHS.length)]!;
  const target = path.length > 10
    ? path + random(10_000_000).toString(36) + random(10_000_000).toString(36)
    : path;
  const request = `${METHODS[random(METHODS.length)]} ${target} HTTP/1.1`;
  const status = STATUSES[random(STATUSES.length)]!;
  const bytes = status === 204 || status === 304 ? 0 : 120 + random(60_000);
  const referer = REFERERS[random(REFERERS.length)]!.replace("#", String(random(1_000_000)));
  const agent = AGENTS[random(AGENTS.length)]!.replaceAll("#", String(90 + random(40)));
  // About 700 requests a second.
  const time = logTime(START_MS + Math.floor(index / 0.7));
  return `${ip} - - [${time}] "${request}" ${status} ${bytes} "${referer}" "${agent}"\n`;
}

let lastSecond = -1;
let lastTime = "";

/** For example "10/Oct/2025:13:55:36 +0000"; one second's text is made once. */
function logTime(ms: number): string {
  const second = Math.floor(ms / 1_000);
  if (second === lastSecond) return lastTime;
  const at = new Date(second * 1_000);
  const two = (value: number) => String(value).padStart(2, "0");
  const clock = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
  lastSecond = second;
  lastTime = `${two(at.getUTCDate())}/${MONTHS[at.getUTCMonth()]}/${at.getUTCFullYear()}:${clock} +0000`;
  return lastTime;
}

/** xorshift32: whole numbers from 0 up to (not including) `below`. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
