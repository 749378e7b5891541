const FRAMES = ["-", "\\", "|", "/"];
const FRAME_MS = 150;

/** Shows on standard error what is going on and how long it took; on a terminal with a sign of life. */
export class Steps {
  readonly #isTerminal = process.stderr.isTTY === true;

  /** Runs `action`; `done` says what to print of its result. */
  async run<T>(title: string, action: () => Promise<T>, done: (result: T) => string = () => ""): Promise<T> {
    const startMs = performance.now();
    const seconds = () => ((performance.now() - startMs) / 1000).toFixed(1);
    let frame = 0;
    const timer = this.#isTerminal
      ? setInterval(
        () => this.#replace(`${FRAMES[frame++ % FRAMES.length]} ${title} (${seconds()} s)`),
        FRAME_MS,
      )
      : null;
    let mark = "failed";
    try {
      const result = await action();
      const said = done(result);
      mark = said === "" ? "done" : said;
      return result;
    } finally {
      if (timer !== null) {
        clearInterval(timer);
        this.#replace("");
      }
      process.stderr.write(`${title}: ${mark} (${seconds()} s)\n`);
    }
  }

  #replace(text: string): void {
    process.stderr.write(`\r\x1b[K${text}`);
  }
}
