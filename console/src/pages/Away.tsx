import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect, useMemo } from "react";
import { ask, call } from "../api";
import { watch } from "../feed";
import { Failure } from "../parts/Failure";
import { Sure } from "../parts/Sure";
import { Text } from "../parts/Text";
import { ago, place } from "../parts/words";
import type { AuditRecord } from "../records";

interface Entry {
  invocation: string;
  operation: string;
  principal: string;
  session: string;
  resource: string;
  at: number;
  state: string;
}

interface Stay {
  session: string;
  who: Set<string>;
  calls: number;
  refused: number;
  waiting: number;
  last: number;
  left: Entry[];
}

const NAME = "superagent-seen";
const before = Number(localStorage.getItem(NAME) ?? 0);
addEventListener("pagehide", () => localStorage.setItem(NAME, String(Date.now() / 1000)));

/** Put what was recorded and what is kept for undo together, by session, the newest first. */
export function stays(records: AuditRecord[], kept: Entry[]): Stay[] {
  const found = new Map<string, Stay>();
  const of = (session: string): Stay => {
    const known = found.get(session) ?? { session, who: new Set(), calls: 0, refused: 0, waiting: 0, last: 0, left: [] };
    found.set(session, known);
    return known;
  };
  for (const one of records) {
    if (!one.session) continue;
    const stay = of(one.session);
    stay.who.add(one.who);
    stay.calls++;
    stay.last = Math.max(stay.last, one.at);
    if (one.state === "refused" || one.state === "failed" || one.state === "denied") stay.refused++;
    if (one.state === "waiting") stay.waiting++;
  }
  for (const one of kept) {
    if (!one.session || one.state !== "undoable") continue;
    const stay = of(one.session);
    stay.who.add(one.principal);
    stay.last = Math.max(stay.last, one.at);
    stay.left.push(one);
  }
  return [...found.values()].sort((one, other) => other.last - one.last);
}

/** What agents did while nobody looked, by session, and one button that takes it back. */
export function Away({ records }: { records: AuditRecord[] }) {
  const client = useQueryClient();
  const kept = useQuery({ queryKey: ["undo"], queryFn: ({ signal }) => ask<{ entries: Entry[] }>("undo.list", { limit: 500 }, signal) });
  const undo = useMutation({ mutationFn: (session: string) => call("undo.apply", { session }), onSettled: () => client.invalidateQueries({ queryKey: ["undo"] }) });
  useEffect(() => {
    let due = 0;
    const stop = watch((fresh) => {
      if (due || !fresh.some((one) => one.session)) return;
      due = window.setTimeout(() => { due = 0; void client.invalidateQueries({ queryKey: ["undo"] }); }, 2_000);
    });
    return () => { stop(); clearTimeout(due); };
  }, [client]);
  const sessions = useMemo(() => stays(records, kept.data?.entries ?? []).slice(0, 20), [records, kept.data]);
  return (
    <aside aria-label="While you were away">
      <h2>While you were away</h2>
      {kept.isError && <Failure of={kept.error} retry={() => void kept.refetch()} />}
      {kept.isSuccess && !sessions.length && <p className="meta">No agent has worked in a session yet. Calls with one name of a session can be taken back together.</p>}
      {sessions.map((one) => (
        <div key={one.session} className="card stay">
          <Link to="/sessions/$id" params={{ id: one.session }}><Text of={one.session} /></Link>
          <p className="meta"><Text of={[...one.who].join(", ")} /> · {ago(one.last)}{one.last > before && before > 0 ? " · since your last visit" : ""}</p>
          <p className="chips">
            {one.left.length > 0 && <span className="chip">{one.left.length} changed</span>}
            {one.calls > 0 && <span className="chip">{one.calls} calls</span>}
            {one.refused > 0 && <span className="chip bad">⊘ {one.refused} refused</span>}
            {one.waiting > 0 && <span className="chip warn">◷ {one.waiting} waited</span>}
          </p>
          {one.left.length > 0 && (
            <Sure label="Undo this session" title={`Take back ${one.left.length} change(s) of this session?`} yes="Take it back" go={() => undo.mutateAsync(one.session)}>
              <p><Text of={one.session} />: newest first, all of it or nothing. The undo is recorded and can be undone.</p>
              <ul className="short">{[...new Set(one.left.map((entry) => place(entry.resource)))].slice(0, 12).map((name) => <li key={name}><Text of={name} /></li>)}</ul>
            </Sure>
          )}
        </div>
      ))}
      {undo.isSuccess && <p role="status" className="good">Taken back by <Link to="/invocations/$id" params={{ id: undo.data.invocation }}>this call</Link>.</p>}
    </aside>
  );
}
