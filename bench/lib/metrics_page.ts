/** Gets a page of /metrics. Null while nobody listens there. */
export async function scrapePage(address: string): Promise<string | null> {
  try {
    return await (await fetch(`http://${address}/metrics`)).text();
  } catch {
    return null; // not started yet, or ended
  }
}

/** The value of the first series of the page that starts with `series`, for example `shipper_sink_sent_batches_total`. Null without one. */
export function readSeries(page: string, series: string): number | null {
  const line = page.split("\n").find((each) =>
    each.startsWith(series) && " {".includes(each[series.length] ?? "\n")
  );
  return line === undefined ? null : Number(line.slice(line.lastIndexOf(" ") + 1));
}
