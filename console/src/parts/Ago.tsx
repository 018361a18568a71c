import { useSyncExternalStore } from "react";
import { ago, moment } from "./words";

const EVERY_MS = 10_000;
const watching = new Set<() => void>();
setInterval(() => { for (const one of watching) one(); }, EVERY_MS);

const subscribe = (watcher: () => void) => {
  watching.add(watcher);
  return () => watching.delete(watcher);
};

/** The time as it goes on: whatever uses it is drawn anew every ten seconds. */
export function useClock(): number {
  return useSyncExternalStore(subscribe, () => Math.floor(Date.now() / EVERY_MS)) * (EVERY_MS / 1000);
}

/** How long ago, and exactly when for whoever points at it; it goes on by itself. */
export function Ago({ at }: { at: number }) {
  useClock();
  return <time dateTime={new Date(at * 1000).toISOString()} title={moment(at)}>{ago(at)}</time>;
}
