import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect, useMemo } from "react";
import { ask, call, session } from "../api";
import { watch } from "../feed";
import { Failure } from "../parts/Failure";
import { Sure } from "../parts/Sure";
import { Text } from "../parts/Text";
import { between, place } from "../parts/words";
import type { AuditRecord } from "../records";

export interface Entry {
  invocation: string;
  operation: string;
  principal: string;
  session: string;
  resource: string;
  at: number;
  state: string;
}

/** One session of an agent: by the name that it gave, or what it did without one and without a long break. */
export interface Stay {
  key: string;
  session: string;
  who: Set<string>;
  calls: number;
  refused: number;
  waiting: number;
  first: number;
  last: number;
  left: Entry[];
}

const BREAK_S = 1800;
const NAME = "superagent-seen";
const before = Number(localStorage.getItem(NAME) ?? 0);
addEventListener("pagehide", () => localStorage.setItem(NAME, String(Date.now() / 1000)));

interface Mark {
  session: string;
  who: string;
  at: number;
  record?: AuditRecord;
  entry?: Entry;
}

/** Put what agents did and what is kept for undo together, by session, the newest first. What `me` did itself is left out unless it is named. */
export function stays(records: AuditRecord[], kept: Entry[], me: string): Stay[] {
  const marks: Mark[] = [
    ...records.filter((one) => one.session || one.agent).map((record) => ({ session: record.session, who: record.who, at: record.at, record })),
    ...kept.filter((one) => one.state === "undoable" && (one.session || one.principal !== me)).map((entry) => ({ session: entry.session, who: entry.principal, at: entry.at, entry })),
  ].sort((one, other) => one.at - other.at);
  const found: Stay[] = [], open = new Map<string, Stay>();
  for (const one of marks) {
    const name = one.session ? `session ${one.session}` : `agent ${one.who}`;
    let stay = open.get(name);
    if (!stay || (!one.session && one.at - stay.last > BREAK_S)) {
      stay = { key: `${name} ${one.at}`, session: one.session, who: new Set(), calls: 0, refused: 0, waiting: 0, first: one.at, last: one.at, left: [] };
      open.set(name, stay);
      found.push(stay);
    }
    stay.who.add(one.who);
    stay.last = one.at;
    if (one.entry) stay.left.push(one.entry);
    if (one.record) {
      stay.calls += one.record.count;
      if (["refused", "failed", "denied"].includes(one.record.state)) stay.refused += one.record.count;
      if (one.record.state === "waiting") stay.waiting++;
    }
  }
  return found.sort((one, other) => other.last - one.last);
}

/** What `undo` takes so that it means this session. */
export const undoOf = (session: string, left: Entry[]): object => (session ? { session } : { ids: [...new Set(left.map((one) => one.invocation))] });

/** What agents did while nobody looked, by session, and one button that takes it back. */
export function Away({ records }: { records: AuditRecord[] }) {
  const client = useQueryClient();
  const me = useQuery({ queryKey: ["session"], queryFn: session, staleTime: 60_000 }).data?.person ?? "";
  const kept = useQuery({ queryKey: ["undo"], queryFn: ({ signal }) => ask<{ entries: Entry[] }>("undo.list", { limit: 500 }, signal) });
  const undo = useMutation({ mutationFn: (one: Stay) => call("undo.apply", undoOf(one.session, one.left)), onSettled: () => client.invalidateQueries({ queryKey: ["undo"] }) });
  useEffect(() => {
    let due = 0;
    const stop = watch((fresh) => {
      if (due || !fresh.some((one) => one.session || one.agent)) return;
      due = window.setTimeout(() => { due = 0; void client.invalidateQueries({ queryKey: ["undo"] }); }, 2_000);
    });
    return () => { stop(); clearTimeout(due); };
  }, [client]);
  const sessions = useMemo(() => stays(records, kept.data?.entries ?? [], me).slice(0, 20), [records, kept.data, me]);
  return (
    <aside aria-label="While you were away">
      <h2>While you were away</h2>
      {kept.isError && <Failure of={kept.error} retry={() => void kept.refetch()} />}
      {kept.isSuccess && !sessions.length && <p className="meta">No agent has done anything yet.</p>}
      {sessions.map((one) => (
        <div key={one.key} className="card stay">
          {one.session
            ? <Link to="/sessions/$id" params={{ id: one.session }}><Text of={one.session} /></Link>
            : <Link to="/stays/$who" params={{ who: [...one.who][0] ?? "" }} search={{ since: one.first, until: one.last }}><Text of={[...one.who].join(", ")} /></Link>}
          <p className="meta">{one.session && <><Text of={[...one.who].join(", ")} />, </>}{between(one.first, one.last)}{one.last > before && before > 0 ? <> · <strong>since your last visit</strong></> : ""}</p>
          <p className="chips">
            {one.left.length > 0 && <span className="chip">{one.left.length} changed</span>}
            {one.calls > 0 && <span className="chip">{one.calls} {one.calls === 1 ? "call" : "calls"}</span>}
            {one.refused > 0 && <span className="chip bad">⊘ {one.refused} refused</span>}
            {one.waiting > 0 && <span className="chip warn">◷ {one.waiting} waited</span>}
          </p>
          {one.left.length > 0 && (
            <Sure label="Undo this session" title={`Take back ${one.left.length} change(s) of this session?`} yes="Take it back" go={() => undo.mutateAsync(one)}>
              <p><Text of={one.session || [...one.who].join(", ")} />: newest first, all of it or nothing. The undo is recorded and can be undone.</p>
              <ul className="short" tabIndex={0} aria-label="What stays as it is">{[...new Set(one.left.map((entry) => place(entry.resource)))].slice(0, 12).map((name) => <li key={name}><Text of={name} /></li>)}</ul>
            </Sure>
          )}
        </div>
      ))}
      {undo.isSuccess && <p role="status" className="good">Taken back by <Link to="/invocations/$id" params={{ id: undo.data.invocation }}>this call</Link>.</p>}
    </aside>
  );
}
