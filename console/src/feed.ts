// The live feed. All tabs of a browser share one stream: the tab that holds a lock reads it and tells the others, and when
// that tab goes, the lock goes to another, which goes on after the last event that it heard of.

import { session } from "./api";
import { Ended, read, type Told } from "./events";
import { merged, recordOf, type AuditRecord } from "./records";

export interface Feed {
  /** newest first */
  records: AuditRecord[];
  /** `connecting` was never live, `lost` was and is not, `ended` will not be again without a new sign-in */
  state: "connecting" | "live" | "lost" | "ended";
  /** how often the stream began without a known event: what came before must then be read from the audit */
  begun: number;
  /** when it was last live, in milliseconds */
  heard: number;
}

type Said =
  | { kind: "events"; events: Told[] }
  | { kind: "state"; state: Feed["state"]; last: string | null; begun: boolean }
  | { kind: "who" } // a new tab asks how things stand
  | { kind: "again" }; // somebody looks at this: try at once

const KEPT = 3000;
const AT_ONCE = 250; // records for each frame: what is more waits for the next, so that no frame takes long
const SEEN = new Set(["outcome", "refused", "approved", "event"]);
const WAIT_MS = 250, LONGEST_MS = 5_000;

let feed: Feed = { records: [], state: "connecting", begun: 0, heard: 0 };
let last: string | null = null;
let known = new Set<string>(); // the hashes of what came: whoever goes on with the stream may read some once more
let waiting: AuditRecord[] = [];
let drawing = false, started = false, leads = false;
let line: BroadcastChannel | null = null;
let again: () => void = () => {};
const listeners = new Set<() => void>();
const watchers = new Set<(records: AuditRecord[]) => void>();

function set(next: Partial<Feed>): void {
  feed = { ...feed, ...next };
  if (feed.state === "ended") { feed.records = []; waiting = []; }
  for (const one of listeners) one();
}

function flush(): void {
  const fresh = waiting.slice(0, AT_ONCE);
  waiting = waiting.slice(AT_ONCE);
  drawing = waiting.length > 0;
  if (drawing) next();
  set({ records: merged(fresh.reverse(), feed.records).slice(0, KEPT) });
  for (const one of watchers) one(fresh);
}

/** Frames do not come to a tab that nobody sees; a turn of the loop does. */
function next(): void {
  if (document.hidden) setTimeout(flush, 0);
  else requestAnimationFrame(flush);
}

function take(events: Told[]): void {
  last = events.at(-1)?.id ?? last;
  for (const one of events) {
    const record = recordOf(one.record);
    if (known.has(record.hash)) continue;
    known.add(record.hash);
    if (SEEN.has(record.kind)) waiting.push(record);
  }
  if (known.size > 2 * KEPT) known = new Set([...known].slice(-KEPT));
  if (waiting.length > KEPT) waiting = waiting.slice(-KEPT);
  if (!drawing && waiting.length) {
    drawing = true;
    next();
  }
}

function tell(said: Said): void {
  line?.postMessage(said);
}

function stand(state: Feed["state"], begun = false): void {
  set({ state, heard: state === "live" || feed.state === "live" ? Date.now() : feed.heard, begun: feed.begun + (begun ? 1 : 0) });
  if (leads) tell({ kind: "state", state, last, begun });
}

function hear(said: Said): void {
  if (said.kind === "who" && leads) tell({ kind: "state", state: feed.state, last, begun: false });
  else if (said.kind === "again") again();
  else if (said.kind === "events" && !leads) take(said.events);
  else if (said.kind === "state" && !leads) {
    const first = last === null && said.last !== null; // what the others heard before this tab came is read from the audit
    if (first) last = said.last;
    stand(said.state, said.begun || first);
  }
}

/** Read the stream as long as this tab lives and its person is signed in, for all of them. */
async function lead(person: string): Promise<void> {
  leads = true;
  for (let wait = WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_MS)) {
    try {
      // the cookie may be another person's by now
      if ((last !== null || feed.state !== "connecting") && (await session())?.person !== person) throw new Ended("nobody, or somebody else, is signed in");
      await read(last, new AbortController().signal, () => {
        wait = WAIT_MS;
        stand("live", last === null);
      }, (events) => {
        take(events);
        tell({ kind: "events", events });
      });
    } catch (fault) {
      if (fault instanceof Ended) {
        stand("ended");
        leads = false;
        return;
      }
    }
    stand(feed.state === "connecting" ? "connecting" : "lost");
    await new Promise<void>((go) => {
      again = go;
      setTimeout(go, wait * (0.5 + Math.random() / 2));
    });
  }
}

/** Begin to follow what happens, as this person. */
export function start(person: string): void {
  if (started) return;
  started = true;
  if (!("locks" in navigator)) { // a page without TLS elsewhere than on this machine: each tab for itself
    void lead(person);
    return;
  }
  // a name for each person: whoever signs in after somebody else is told nothing by the other's tabs
  const name = `superagent-events-${person}`;
  line = new BroadcastChannel(name);
  line.onmessage = (event: MessageEvent<Said>) => hear(event.data);
  tell({ kind: "who" });
  void navigator.locks.request(name, () => lead(person));
  // timers of hidden tabs are slow: one that is looked at asks whoever leads to try now
  setInterval(() => { if (feed.state === "lost" && !leads && !document.hidden) tell({ kind: "again" }); }, 1_000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { again(); tell({ kind: "again" }); } });
}

/** Put what was read from the audit among what the stream brought. */
export function before(records: AuditRecord[]): void {
  set({ records: merged(feed.records, records).slice(0, KEPT) });
}

/** Forget what was shown: what may still be seen is read from the audit again. */
export function forget(): void {
  waiting = [];
  set({ records: [], begun: feed.begun + 1 });
}

export const subscribe = (listener: () => void): (() => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

/** Hear of fresh records as they come, oldest first in each call or not: their order says nothing. */
export const watch = (watcher: (records: AuditRecord[]) => void): (() => void) => {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
};

export const current = (): Feed => feed;
