// Words and times as people read them.

export function ago(at: number, now = Date.now() / 1000): string {
  return `${span(Math.max(0, now - at))} ago`;
}

export function left(until: number, now = Date.now() / 1000): string {
  return until <= now ? "over" : `${span(until - now)} left`;
}

export function span(seconds: number): string {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

export function moment(at: number): string {
  return new Date(at * 1000).toLocaleString();
}

/** A time from and to, the day only where it is not today. */
export function between(from: number, to: number, now = Date.now()): string {
  const clock = (at: number) => new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const day = new Date(from * 1000).toLocaleDateString();
  const span = clock(from) === clock(to) ? clock(from) : `${clock(from)} to ${clock(to)}`;
  return day === new Date(now).toLocaleDateString() ? span : `${day}, ${span}`;
}

/** `path://local/etc/hostname` as `/etc/hostname`. */
export function place(resource: string): string {
  return resource.replace(/^(?:[A-Z]+ )?path:\/\/local/, "").replace(/^[A-Z]+ /, "");
}

/** The end of a long path: where there is little room, the end tells more. */
export function short(path: string): string {
  const parts = path.split("/");
  return path.startsWith("/") && parts.length > 5 ? `…/${parts.slice(-3).join("/")}` : path;
}

/** What a call does, in words: its operation and the first thing that it touches. */
export function title(operation: string, resources: string[], said: (path: string) => string = (path) => path): string {
  const first = resources.find((one) => !one.startsWith("READ ")) ?? resources[0]; // what is changed tells more
  if (!first) return operation;
  return `${operation} · ${said(place(first))}${resources.length > 1 ? ` and ${resources.length - 1} more` : ""}`;
}

export function bytes(count: number): string {
  return count < 1024 ? `${count} B` : count < 1024 * 1024 ? `${(count / 1024).toFixed(0)} KiB` : `${(count / 1024 / 1024).toFixed(1)} MiB`;
}
