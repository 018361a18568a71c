import { Link, useNavigate } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useState, useSyncExternalStore } from "react";
import { before, current, subscribe } from "../feed";
import { looks, search, type AuditRecord } from "../records";
import { Ago } from "../parts/Ago";
import { State } from "../parts/Chips";
import { Failure } from "../parts/Failure";
import { Text } from "../parts/Text";
import { typing } from "../Shell";
import { useList } from "../parts/useList";
import { short, title } from "../parts/words";
import { plainly } from "../parts/visible";
import { Away } from "./Away";

interface Group {
  first: AuditRecord;
  count: number;
}

const SHOWN = 200;

/** Put what one caller did again and again in one line. */
export function grouped(records: AuditRecord[]): Group[] {
  const found: Group[] = [];
  for (const one of records) {
    const last = found.at(-1);
    if (last && last.first.who === one.who && last.first.operation === one.operation && last.first.state === one.state) last.count++;
    else found.push({ first: one, count: 1 });
  }
  return found;
}

/** What happens, as it does: newest first, repeats in one line, never moving under the reader while paused. */
export function Activity() {
  const feed = useSyncExternalStore(subscribe, current);
  const past = useQuery({ queryKey: ["activity", feed.begun], queryFn: ({ signal }) => search({ limit: 200 }, signal) });
  useEffect(() => { if (past.data) before(past.data.records.filter((one) => one.kind !== "intent")); }, [past.data]);
  const [who, setWho] = useState(""), [all, setAll] = useState(false), [wanted, setWanted] = useState("");
  const [held, hold] = useState<AuditRecord[] | null>(null);
  useEffect(() => hold(null), [feed.begun]); // what is held may be more than may be seen now
  const records = held ?? feed.records;
  const callers = useMemo(() => [...new Set(feed.records.map((one) => one.who))].sort(), [feed.records]);
  const groups = useMemo(
    () => grouped(records.filter((one) =>
      (!who || one.who === who) && (all || wanted || !looks(one)) && (!wanted || one.state === wanted))).slice(0, SHOWN),
    [records, who, all, wanted],
  );
  const navigate = useNavigate();
  const [at, set] = useList(groups.length);
  const pause = useCallback(() => hold((now) => (now ? null : current().records)), []);
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
      if (event.key.toLowerCase() === "p") pause();
      const here = groups[at];
      if (event.key === "Enter" && here && !(event.target instanceof HTMLAnchorElement || event.target instanceof HTMLButtonElement))
        void navigate({ to: "/invocations/$id", params: { id: here.first.invocation } });
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [at, groups, navigate, pause]);
  const more = held && held[0] ? feed.records.findIndex((one) => one.hash === held[0]?.hash) : 0;
  return (
    <div className="columns">
      <section aria-label="What happened">
        <div className="tools">
          <label>Who <select value={who} onChange={(event) => setWho(event.target.value)}><option value="">everybody</option>{callers.map((one) => <option key={one} value={one}>{plainly(one)}</option>)}</select></label>
          <label>Outcome <select value={wanted} onChange={(event) => setWanted(event.target.value)}><option value="">all</option><option value="done">done</option><option value="waiting">waits</option><option value="refused">refused</option><option value="failed">failed</option></select></label>
          <label><input type="checkbox" checked={all} onChange={(event) => setAll(event.target.checked)} /> also what only looks</label>
          <span className="spring" />
          <button type="button" aria-pressed={held !== null} onClick={pause}>{held ? "Go on" : "Pause"} <kbd>P</kbd></button>
        </div>
        {held && more > 0 && <button type="button" className="fresh" onClick={pause}>{more} new</button>}
        {past.isError && <Failure of={past.error} retry={() => void past.refetch()} />}
        {past.isSuccess && !groups.length && <p className="empty">{feed.records.length ? "Nothing that is shown here fits: show what only looks as well, or everybody." : <>Nothing has happened yet. <Link to="/operations">Try an operation</Link>.</>}</p>}
        <ol className="rows" aria-label="Calls">
          {groups.map(({ first, count }, index) => (
            <li key={first.hash} aria-current={index === at || undefined} onMouseDown={() => set(index)}>
              <Link to="/invocations/$id" params={{ id: first.invocation }}><Text of={title(first.operation, first.resources.map((one) => one[0]), short)} /></Link>
              <span className="meta"><Text of={first.by} /></span>
              {count > 1 && <span className="chip">× {count}</span>}
              <State of={first.state} />
              <Ago at={first.at} />
            </li>
          ))}
        </ol>
      </section>
      <Away records={feed.records} />
    </div>
  );
}
