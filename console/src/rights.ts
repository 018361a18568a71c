// Whether what one may do has changed: one has other roles or groups, what waits is judged by other grants, or policy has
// another version. Then other things may be seen and done than those that a page shows.

const known = new Map<string, string>();
const listeners = new Set<() => void>();

/** Take note of what somebody's rights come from, by where it was heard; what is another than before is told. */
export function noticed(where: "person" | "policy", what: unknown): void {
  const now = JSON.stringify(what), before = known.get(where);
  known.set(where, now);
  if (before !== undefined && before !== now) for (const one of listeners) one();
}

/** Be told when they have changed. */
export const onRights = (listener: () => void): (() => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};
