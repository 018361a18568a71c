// The live feed: one stream, resumed by the number of the last event, and batched by frame.

import { recordOf, type AuditRecord } from "./records";

export interface Feed {
  /** newest first */
  records: AuditRecord[];
  state: "live" | "connecting" | "ended";
}

const KEPT = 2000;
const SEEN = ["outcome", "refused", "event"];

let feed: Feed = { records: [], state: "connecting" };
const listeners = new Set<() => void>();
let source: EventSource | null = null;
let waiting: AuditRecord[] = [];
let drawing = false;

function set(next: Partial<Feed>): void {
  feed = { ...feed, ...next };
  for (const one of listeners) one();
}

function flush(): void {
  drawing = false;
  const known = new Set(feed.records.slice(0, waiting.length + 50).map((one) => one.hash));
  const fresh = waiting.filter((one) => !known.has(one.hash)).reverse();
  waiting = [];
  if (fresh.length) set({ records: [...fresh, ...feed.records].slice(0, KEPT) });
}

function take(event: MessageEvent<string>): void {
  waiting.push(recordOf(JSON.parse(event.data)));
  if (!drawing) {
    drawing = true;
    requestAnimationFrame(flush);
  }
}

/** Put what was read from the audit below what the stream brought. */
export function before(records: AuditRecord[]): void {
  const known = new Set(feed.records.map((one) => one.hash));
  set({ records: [...feed.records, ...records.filter((one) => !known.has(one.hash))].slice(0, KEPT) });
}

export function start(): void {
  if (source) return;
  source = new EventSource("/v1/events");
  source.onopen = () => set({ state: "live" });
  // the browser connects again by itself, with the number of the last event; unless the answer was final
  source.onerror = () => set({ state: source?.readyState === EventSource.CLOSED ? "ended" : "connecting" });
  for (const kind of SEEN) source.addEventListener(kind, take);
}

export const subscribe = (listener: () => void): (() => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export const current = (): Feed => feed;
