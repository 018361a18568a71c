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

const two = (number: number): string => String(number).padStart(2, "0");

/** A day as everybody reads it in the same way (ISO 8601), where the reader is. */
function day(at: number): string {
  const date = new Date(at * 1000);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** Hours and minutes, where the reader is. */
export function clock(at: number): string {
  const date = new Date(at * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** A day and a time to the second. */
export function moment(at: number): string {
  return `${day(at)} ${clock(at)}:${two(new Date(at * 1000).getSeconds())}`;
}

/** A time from and to, the day only where it is not today. */
export function between(from: number, to: number, now = Date.now() / 1000): string {
  const span = clock(from) === clock(to) ? clock(from) : `${clock(from)} to ${clock(to)}`;
  return day(from) === day(now) ? span : `${day(from)} ${span}`;
}

/** `path://local/etc/hostname` as `/etc/hostname`, and `user://-/ann` as `user ann`. */
export function place(resource: string): string {
  return resource.replace(/^[A-Z]+ /, "").replace(/^path:\/\/local/, "").replace(/^([a-z_]+):\/\/-\/(?=.)/, "$1 ");
}

/** The end of a long path or id: where there is little room, the end tells more. */
export function short(path: string): string {
  const parts = path.split("/");
  if (path.startsWith("/")) return parts.length > 5 ? `…/${parts.slice(-3).join("/")}` : path;
  return path.replace(/([a-z]+_)?[0-9A-Za-z]{22,}$/, (id) => `…${id.slice(-6)}`); // of an id the end tells it from others
}

/** What a call does, in words: its operation and the first thing that it touches. */
export function title(operation: string, resources: string[], said: (path: string) => string = (path) => path): string {
  const first = resources.find((one) => !one.startsWith("READ ")) ?? resources[0]; // what is changed tells more
  if (!first) return operation;
  return `${operation} · ${said(place(first))}${resources.length > 1 ? ` and ${resources.length - 1} more` : ""}`;
}

export function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  if (count < 1024 ** 2) return `${(count / 1024).toFixed(0)} KiB`;
  return count < 1024 ** 3 ? `${(count / 1024 ** 2).toFixed(1)} MiB` : `${(count / 1024 ** 3).toFixed(1)} GiB`;
}
