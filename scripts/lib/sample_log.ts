const PATHS = ["/", "/login", "/api/items", "/api/items/4711", "/static/app.js", "/search?q=caf\u00e9"];
const METHODS = ["GET", "GET", "GET", "POST", "PUT"];
const STATUSES = [200, 200, 200, 204, 301, 404, 500];
const AGENTS = [
  "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
  "curl/8.9.1",
  "kube-probe/1.30",
];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Lines of a web server's access log, the same for the same `startMs`. */
export function sampleLog(lineCount: number, startMs: number): string {
  const lines: string[] = [];
  let random = 2_463_534_242;
  const pick = <T>(values: readonly T[]): T => {
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    return values[(random >>> 0) % values.length]!;
  };
  for (let i = 0; i < lineCount; i++) {
    const octet = 1 + i % 254;
    const request = `${pick(METHODS)} ${pick(PATHS)} HTTP/1.1`;
    const time = commonLogTime(new Date(startMs + i * 10));
    lines.push(
      `10.0.${i % 7}.${octet} - - [${time}] "${request}" ${pick(STATUSES)} ${200 + i % 9_000} "-" "${
        pick(AGENTS)
      }"\n`,
    );
  }
  return lines.join("");
}

function commonLogTime(time: Date): string {
  const day = String(time.getUTCDate()).padStart(2, "0");
  return `${day}/${MONTHS[time.getUTCMonth()]}/${time.getUTCFullYear()}:${
    time.toISOString().slice(11, 19)
  } +0000`;
}
