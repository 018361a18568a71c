import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { ask, call, type Json, type Outcome, Problem } from "../api";
import { search, type AuditRecord } from "../records";
import { State } from "../parts/Chips";
import { Diff } from "../parts/Diff";
import { Failure } from "../parts/Failure";
import { Prose } from "../parts/Prose";
import { Slow } from "../parts/Slow";
import { Table } from "../parts/Table";
import { Text } from "../parts/Text";
import { moment, place, title } from "../parts/words";

const KINDS: Record<string, string> = { intent: "Begun", outcome: "Ended", approved: "Decided", refused: "Refused", event: "Noted" };
const BAD = new Set(["failed", "denied", "refused", "unknown"]);

export interface Plan {
  possible: boolean;
  steps: { invocation: string; resource: string; does: string; diff: string; conflict: string }[];
}

interface Said {
  detail?: string;
  hint?: string;
}

/** One call: who, the decision, what it touched, how it was contained, its records, and how to take it back. */
export function Invocation() {
  const { id } = useParams({ from: "/invocations/$id" });
  const records = useQuery({ queryKey: ["audit", id], queryFn: ({ signal }) => search({ invocation: id, limit: 50 }, signal) });
  const stored = useQuery({ queryKey: ["job", id], retry: false, queryFn: ({ signal }) => optional(ask<{ outcome: (Partial<Outcome> & { problem?: Said }) | null }>("jobs.status", { id }, signal)) });
  const last = records.data?.records[0];
  if (records.isError) return <Failure of={records.error} retry={() => void records.refetch()} />;
  if (!records.data) return <Slow />;
  if (!last) return <p className="empty">No record names the call <code>{id}</code>, or you may not see it. <Link to="/audit">Search the audit</Link> for what it did.</p>;
  const outcome = stored.data?.outcome;
  const contained = records.data.records.find((one) => one.isolation)?.isolation;
  return (
    <article className="detail">
      <h2><Text of={title(last.operation, last.resources.map((one) => one[0]))} /></h2>
      <p className="meta">{moment(last.at)} by <strong><Text of={last.by} /></strong> over {last.channel}{last.session && <>, in the session <Link to="/sessions/$id" params={{ id: last.session }}><Text of={last.session} /></Link></>}</p>
      <p><State of={last.state} /> {last.decision && <span className="chip">decision: {last.decision}</span>}
        {contained && <span className="chip">contained: {contained}</span>}</p>
      {BAD.has(last.state) && <Why of={last} said={outcome?.problem} />}
      {last.state === "waiting" && <p><Link to="/approvals/$id" params={{ id }}>It waits for a person: read what it would do</Link></p>}
      <Back id={id} />
      <h3>What it touched</h3>
      {last.resources.length ? <ul>{last.resources.map(([one, effect]) => <li key={one}><code>{effect}</code> <Text of={place(one)} /></li>)}</ul> : <p className="meta">Nothing.</p>}
      {last.decision && <><h3>Why it was decided so</h3><p>{outcome?.decision && <><Text of={outcome.decision.reason} />; </>}by {last.grants.join(", ") || "no grant"}</p></>}
      <h3>Records</h3>
      <Table heads={["When", "What", "By", "Number in its chain", "Hash"]} rows={records.data.records.map((one) => ({
        key: one.hash, cells: [
          moment(one.at), <>{KINDS[one.kind] ?? one.kind}{one.kind === "outcome" && <> <State of={one.state} /></>}{one.decided && <> <State of={one.decided === "deny" ? "denied" : "approved"} /></>}</>, <Text of={one.by} />,
          <code title={`${one.chain} ${one.seq}`}>{one.seq} <span className="meta">…{one.chain.slice(-6)}</span></code>, <code title={one.hash}>{one.hash.slice(0, 12)}…</code>,
        ],
      }))} />
      <p className="meta"><Link to="/audit">Verify the audit</Link> to prove that nobody rewrote these.</p>
    </article>
  );
}

/** Why it did not do what it was asked to: in words where there are some, else by the kind of problem. */
function Why({ of, said }: { of: AuditRecord; said: Said | undefined }) {
  const words = said?.detail || of.why;
  if (!words && !of.problem) return null;
  return (
    <div className="failure">
      <strong>{words ? <Prose of={words} /> : <>It ended with the problem <code>{of.problem}</code>.</>}</strong>
      {said?.hint && <p><Prose of={said.hint} /></p>}
      {of.problem && <p className="meta">What <a href={`/problems/${of.problem}`}>{of.problem}</a> means, and what to do next.</p>}
    </div>
  );
}

async function optional<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (fault) {
    if (fault instanceof Problem && fault.status === 404) return null; // a short call is not stored
    throw fault;
  }
}

/** What taking a call back would do, and the button that does it. */
function Back({ id }: { id: string }) {
  const client = useQueryClient();
  const plan = useQuery({ queryKey: ["plan", id], retry: false, queryFn: ({ signal }) => optional(ask<Plan>("undo.plan", { ids: [id] }, signal)) });
  const undo = useMutation({
    mutationFn: () => call<Json>("undo.apply", { ids: [id] }),
    onSettled: () => Promise.all([client.invalidateQueries({ queryKey: ["plan", id] }), client.invalidateQueries({ queryKey: ["audit", id] }), client.invalidateQueries({ queryKey: ["undo"] })]),
  });
  if (undo.isSuccess) return <p role="status">Taken back by <Link to="/invocations/$id" params={{ id: undo.data.invocation }}>this call</Link>.</p>;
  if (plan.isError) return <Failure of={plan.error} />;
  if (!plan.data?.steps.length) return null;
  return (
    <section aria-label="Take it back" className="stack">
      {plan.data.steps.map((one) => one.diff
        ? <Diff key={one.resource} of={one.diff} label={`undo of ${place(one.resource)}`} />
        : <p key={one.resource}><Prose of={one.does} />: <Text of={place(one.resource)} />{one.conflict && <span className="chip warn"><Text of={one.conflict} /></span>}</p>)}
      <p><button type="button" className="primary" disabled={!plan.data.possible || undo.isPending} onClick={() => undo.mutate()}>Undo</button>
        {!plan.data.possible && <span className="meta"> Somebody changed it since: undo would lose that.</span>}</p>
      {undo.isError && <Failure of={undo.error} />}
    </section>
  );
}
