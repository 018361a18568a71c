// The server's stream of events, read by `fetch`: unlike an EventSource it can begin after a known event, and it says
// whether it ended because the server went, or because whoever reads may not read any more.

export interface Told {
  /** where the stream goes on after it; it says nothing else, and is another text each time */
  id: string;
  record: unknown;
}

/** Why a stream ended for good. */
export class Ended extends Error {}

const QUIET_MS = 45_000; // the server speaks every 15 s

/**
 * Read until the stream ends. `after` is the id of the last event that is known, null to begin with what comes.
 * Throws `Ended` when it makes no sense to try again, anything else when it does.
 */
export async function read(after: string | null, signal: AbortSignal, opened: () => void, told: (some: Told[]) => void): Promise<void> {
  const gone = new AbortController();
  let quiet = setTimeout(() => gone.abort(), QUIET_MS);
  const heard = () => {
    clearTimeout(quiet);
    quiet = setTimeout(() => gone.abort(), QUIET_MS);
  };
  try {
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (after !== null) headers["last-event-id"] = after;
    const response = await fetch("/v1/events", { headers, credentials: "same-origin", cache: "no-store", signal: AbortSignal.any([signal, gone.signal]) });
    if ([400, 401, 403, 404].includes(response.status)) throw new Ended(`the server answered ${response.status}`);
    if (!response.ok || !response.body) throw new Error(`the server answered ${response.status}`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const cut = cutter();
    opened();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      const found = cut(value);
      if (found.length) told(found);
    }
  } finally {
    clearTimeout(quiet);
  }
}

/** Cut a stream of text into its events (server-sent events: `id`, `data`, an empty line). What has no id is none of them. */
export function cutter(): (text: string) => Told[] {
  let left = "";
  return (text) => {
    const parts = (left + text).split("\n\n");
    left = parts.pop() ?? "";
    const found: Told[] = [];
    for (const part of parts) {
      let id = "", data = "";
      for (const line of part.split("\n")) {
        if (line.startsWith("id: ")) id = line.slice(4);
        else if (line.startsWith("data: ")) data += line.slice(6);
      }
      if (data && id) found.push({ id, record: JSON.parse(data) as unknown });
    }
    return found;
  };
}
