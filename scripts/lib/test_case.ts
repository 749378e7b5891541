/** The outcome of one test, or of one check that counts like a test. */
export interface TestCase {
  /** Path of the test file, or "checks". */
  readonly file: string;
  /** With the names of its groups in front. */
  readonly name: string;
  readonly seconds: number;
  readonly status: "passed" | "failed" | "skipped";
  /** Why it failed or was skipped. */
  readonly message: string;
}

const TEXTS: Readonly<Record<string, string>> = {
  "&lt;": "<",
  "&gt;": ">",
  "&amp;": "&",
  "&quot;": '"',
  "&apos;": "'",
};

/** Reads the report that `bun test --reporter=junit` writes. */
export function parseJunit(xml: string): TestCase[] {
  const cases: TestCase[] = [];
  const pattern = /<testcase ([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g;
  for (const [, attributes, body = ""] of xml.matchAll(pattern) as Iterable<[string, string, string?]>) {
    const attribute = (name: string) =>
      unescapeXml(new RegExp(` ${name}="([^"]*)"`).exec(` ${attributes}`)?.[1] ?? "");
    const group = attribute("classname");
    const failed = body.includes("<failure") || body.includes("<error");
    const skipped = body.includes("<skipped");
    cases.push({
      file: attribute("file"),
      name: group === "" ? attribute("name") : `${group} > ${attribute("name")}`,
      seconds: Number(attribute("time")),
      status: failed ? "failed" : skipped ? "skipped" : "passed",
      message: failed
        ? unescapeXml(/message="([^"]*)"/.exec(body)?.[1] ?? "")
        : skipped
        ? skipReason(attribute("name"))
        : "",
    });
  }
  return cases;
}

/** Tests that were skipped with no reason, or with one that is not allowed, count as failed. */
export function judgeSkips(cases: readonly TestCase[], allowedReasons: ReadonlySet<string>): TestCase[] {
  return cases.map((testCase) => {
    if (testCase.status !== "skipped" || allowedReasons.has(testCase.message)) return testCase;
    const reason = testCase.message === "" ? "no reason" : `the reason "${testCase.message}"`;
    return {
      ...testCase,
      status: "failed",
      message: `Skipped with ${reason}: not in scripts/allowed_skips.txt`,
    };
  });
}

/** The line that ends scripts/test. */
export function summaryLine(cases: readonly TestCase[]): string {
  const count = (status: TestCase["status"]) => cases.filter((testCase) => testCase.status === status).length;
  const skipped = count("skipped");
  return `${count("passed")} passed, ${count("failed")} failed${skipped === 0 ? "" : `, ${skipped} skipped`}`;
}

function skipReason(name: string): string {
  return /\[skipped: (.+)\]$/.exec(name)?.[1] ?? "";
}

function unescapeXml(text: string): string {
  return text
    .replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)))
    .replace(/&(lt|gt|amp|quot|apos);/g, (entity) => TEXTS[entity]!);
}
