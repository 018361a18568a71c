// Given to `node --test` as its reporter, inside the sandbox: each test as one line of JSON, and the coverage as one.
// Names of the tests around come from the starts; a test that only sums up those in it is left out.

export default async function* report(events) {
  const around = [];
  let deepest = -1;
  for await (const { type, data } of events) {
    if (type === "test:start") {
      around[data.nesting] = data.name;
      around.length = data.nesting + 1;
    } else if (type === "test:pass" || type === "test:fail") {
      const error = data.details?.error;
      const sums = deepest > data.nesting || data.details?.type === "suite" || error?.failureType === "subtestsFailed";
      deepest = data.nesting;
      if (sums || data.skip === "test name does not match pattern") continue;
      const left = data.skip !== undefined ? data.skip : data.todo;
      yield JSON.stringify({
        name: [...around.slice(0, data.nesting), data.name].join(" > "),
        status: left !== undefined ? "skipped" : type === "test:pass" ? "passed" : "failed",
        file: data.file ?? "",
        line: data.line ?? null,
        seconds: (data.details?.duration_ms ?? 0) / 1000,
        message: left !== undefined ? String(left === true ? "" : left) : said(error),
      }) + "\n";
    } else if (type === "test:coverage") {
      const files = data.summary.files.map((one) => [one.path, one.coveredLinePercent]);
      yield JSON.stringify({ percent: data.summary.totals.coveredLinePercent, files }) + "\n";
    }
  }
}

function said(error) {
  const cause = error?.cause ?? error;
  return cause ? String(cause.stack ?? cause.message ?? cause).slice(0, 8000) : "";
}
