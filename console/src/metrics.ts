// The server's own figures (Prometheus text format, `GET /metrics`), read as far as the pages use them.

export interface Timed {
  operation: string;
  status: string;
  count: number;
  seconds: number;
  /** how many took at most so long, by upper bound in seconds, as the server counts them: each holds those before it */
  within: [number, number][];
}

export interface Figures {
  worker: string;
  calls: Timed[];
  gauges: Record<string, number>;
}

const LINE = /^([a-z_]+)(?:\{([^}]*)\})? ([0-9.e+-]+)$/;
const LABEL = /([a-z_]+)="([^"]*)"/g;

/** Read the text; what is no line of that format is passed by. */
export function figuresOf(text: string): Figures {
  const found: Figures = { worker: "", calls: [], gauges: {} };
  const calls = new Map<string, Timed>();
  for (const raw of text.split("\n")) {
    const match = LINE.exec(raw);
    const name = match?.[1] ?? "", value = Number(match?.[3]);
    if (!name || Number.isNaN(value)) continue;
    const labels = Object.fromEntries([...(match?.[2] ?? "").matchAll(LABEL)].map((one) => [one[1] ?? "", one[2] ?? ""]));
    found.worker = labels.worker ?? found.worker;
    if (!name.startsWith("superagent_call_seconds")) {
      found.gauges[name.replace("superagent_", "")] = value;
      continue;
    }
    const key = `${labels.operation} ${labels.status}`;
    const timed = calls.get(key) ?? { operation: labels.operation ?? "", status: labels.status ?? "", count: 0, seconds: 0, within: [] };
    calls.set(key, timed);
    if (name.endsWith("_count")) timed.count = value;
    else if (name.endsWith("_sum")) timed.seconds = value;
    else timed.within.push([labels.le === "+Inf" ? Infinity : Number(labels.le), value]);
  }
  found.calls = [...calls.values()];
  return found;
}

/** Give the bound below which this share of calls ended: the histogram knows no more. */
export function below(one: Timed, share: number): number {
  const wanted = one.count * share;
  return one.within.find(([, count]) => count >= wanted)?.[0] ?? Infinity;
}

/** Put what several workers counted together. */
export function together(all: Figures[]): Timed[] {
  const found = new Map<string, Timed>();
  for (const one of all.flatMap((figures) => figures.calls)) {
    const key = `${one.operation} ${one.status}`, known = found.get(key);
    found.set(key, known ? {
      ...one, count: known.count + one.count, seconds: known.seconds + one.seconds,
      within: one.within.map(([bound, count], at) => [bound, count + (known.within[at]?.[1] ?? 0)]),
    } : one);
  }
  return [...found.values()];
}
