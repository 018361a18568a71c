import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useParams, useSearch } from "@tanstack/react-router";
import { ask, call, Problem, type Json } from "../api";
import { Ago } from "../parts/Ago";
import { State } from "../parts/Chips";
import { Diff } from "../parts/Diff";
import { Failure } from "../parts/Failure";
import { Prose } from "../parts/Prose";
import { Sure } from "../parts/Sure";
import { Slow } from "../parts/Slow";
import { Text } from "../parts/Text";
import { moment, place, short, title } from "../parts/words";
import { search, type AuditRecord } from "../records";
import { undoOf, type Entry } from "./Away";
import type { Plan } from "./Invocation";

const PAGES = 5, PAGE = 500;

/** One session: by its name, or what somebody did between two times without one. */
type Of = { session: string } | { who: string; since: number; until: number };

/** Everything of one session, newest first; and whether that is all. */
async function records(of: Of, signal: AbortSignal): Promise<{ found: AuditRecord[]; whole: boolean }> {
  const filters = "session" in of ? { text: of.session } : { actor: of.who, since: of.since, until: of.until + 0.001 };
  const session = "session" in of ? of.session : "";
  const found: AuditRecord[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < PAGES; page++) {
    const some = await search({ ...filters, limit: PAGE, ...(cursor ? { cursor } : {}) }, signal);
    found.push(...some.records.filter((one) => one.session === session && one.kind !== "intent" && ("session" in of || one.who === of.who)));
    cursor = some.cursor;
    if (!cursor) return { found, whole: true };
  }
  return { found, whole: false };
}

/** What one named session of an agent did. */
export function Session() {
  const { id } = useParams({ from: "/sessions/$id" });
  return <Did key={id} of={{ session: id }} name={id} />;
}

/** What an agent did from one time to another, where it gave its session no name. */
export function Stayed() {
  const { who } = useParams({ from: "/stays/$who" });
  const search: { since?: unknown; until?: unknown } = useSearch({ strict: false });
  const since = Number(search.since ?? 0), until = Number(search.until ?? 1e11);
  return <Did key={`${who}${since}${until}`} of={{ who, since, until }} name={who} />;
}

/** All calls of a session, what undo would do with them, and the one button for it. */
function Did({ of, name }: { of: Of; name: string }) {
  const done = useQuery({ queryKey: ["session-records", of], queryFn: ({ signal }) => records(of, signal) });
  if (done.isError) return <Failure of={done.error} retry={() => void done.refetch()} />;
  if (!done.data) return <Slow />;
  const all = done.data.found;
  const first = all.at(-1), last = all[0];
  const count = (state: string) => all.filter((one) => one.state === state).length;
  return (
    <article className="detail">
      <h2>What <Text of={name} /> did</h2>
      {first && last
        ? <p className="meta"><strong><Text of={[...new Set(all.map((one) => one.by))].slice(0, 5).join(", ")} /></strong>, from {moment(first.at)} to {moment(last.at)} (<Ago at={last.at} />)</p>
        : <p className="empty">No record names this session, or you may not see it. <Link to="/activity">The activity</Link> shows those that you may.</p>}
      <Pause of={[...new Set(all.filter((one) => one.agent).map((one) => one.who))]} />
      {all.length > 0 && (
        <dl className="blast" aria-label="In numbers">
          {[["Calls", all.length], ["Done", count("done")], ["Failed", count("failed")], ["Refused", count("refused")], ["Waited", count("waiting")]].map(([name, number]) => <div key={name}><dt>{name}</dt><dd><strong>{number}</strong></dd></div>)}
        </dl>
      )}
      <Back of={of} />
      {all.length > 0 && <h3>Calls</h3>}
      <ol className="rows" aria-label="Calls">
        {all.slice(0, 500).map((one) => (
          <li key={one.hash}>
            <Link to="/invocations/$id" params={{ id: one.invocation }}><Text of={title(one.operation, one.resources.map((pair) => pair[0]), short)} /></Link>
            <span className="meta"><Text of={one.by} /></span>
            <State of={one.state} />
            <Ago at={one.at} />
          </li>
        ))}
      </ol>
      {!done.data.whole && <p className="meta">There is more than is shown here: the <Link to="/audit">audit</Link> has all of it.</p>}
    </article>
  );
}

/** Whoever does what it should not is stopped from here. */
function Pause({ of }: { of: string[] }) {
  const client = useQueryClient();
  const agents = useQuery({ queryKey: ["access", "access.agents.list"], retry: false, enabled: of.length > 0, queryFn: ({ signal }) => ask<{ agents: { id: string; state: string }[] }>("access.agents.list", {}, signal) });
  const known = agents.data?.agents.filter((one) => of.includes(one.id)).slice(0, 5) ?? [];
  if (!known.length) return null;
  const act = async (operation: string, id: string) => { await call(operation, { id }); await client.invalidateQueries({ queryKey: ["access"] }); };
  return (
    <p className="tools">{known.map((one) => one.state === "active"
      ? <Sure key={one.id} label={<>Pause <Text of={one.id} /></>} title={<>Pause <Text of={one.id} />?</>} yes="Pause" danger go={() => act("access.agents.pause", one.id)}><p>Nothing it asks is taken until somebody resumes it.</p></Sure>
      : one.state === "paused" && <Sure key={one.id} label={<>Resume <Text of={one.id} /></>} title={<>Resume <Text of={one.id} />?</>} yes="Resume" go={() => act("access.agents.resume", one.id)} />)}</p>
  );
}

interface Kept {
  plan: Plan | null;
  settled: boolean;
  input: object;
}

/** Nothing is kept (404), or it was taken back already (409): both are answers and no failures. */
async function planned(of: Of, signal: AbortSignal): Promise<Kept> {
  let input: object = of;
  if (!("session" in of)) {
    const { entries } = await ask<{ entries: Entry[] }>("undo.list", { since: of.since - 1, limit: 1000 }, signal);
    const left = entries.filter((one) => !one.session && one.principal === of.who && one.at <= of.until && one.state === "undoable");
    if (!left.length) return { plan: null, settled: entries.some((one) => one.principal === of.who && one.state === "undone"), input };
    input = undoOf("", left);
  }
  try {
    return { plan: await ask<Plan>("undo.plan", input, signal), settled: false, input };
  } catch (fault) {
    if (fault instanceof Problem && (fault.status === 404 || fault.status === 409)) return { plan: null, settled: fault.status === 409, input };
    throw fault;
  }
}

function Back({ of }: { of: Of }) {
  const client = useQueryClient();
  const plan = useQuery({ queryKey: ["plan", of], retry: false, queryFn: ({ signal }) => planned(of, signal) });
  const undo = useMutation({
    mutationFn: () => call<Json>("undo.apply", plan.data?.input ?? {}),
    onSettled: () => Promise.all(["plan", "undo", "session-records"].map((one) => client.invalidateQueries({ queryKey: [one] }))),
  });
  if (undo.isSuccess) return <p role="status" className="good">↶ Taken back by <Link to="/invocations/$id" params={{ id: undo.data.invocation }}>this call</Link>, which can be taken back itself.</p>;
  if (plan.isError) return <Failure of={plan.error} />;
  if (!plan.data) return null;
  if (plan.data.settled) return <p className="meta">↶ What it changed was taken back.</p>;
  const found = plan.data.plan;
  if (!found?.steps.length) return <p className="meta">It left nothing that can be taken back.</p>;
  const conflicts = found.steps.filter((one) => one.conflict);
  return (
    <section aria-label="Take it back" className="back">
      <header>
        <h3>What it left, and what undo would do</h3>
        <span className="spring" />
        <Sure first label="Undo this session" title={`Take back ${found.steps.length} change(s) of this session?`} yes="Take it back" disabled={!found.possible} go={() => undo.mutateAsync()}>
          <p>Newest first, all of it or nothing. The undo is recorded and can be undone.</p>
          <ul className="short" tabIndex={0} aria-label="What is taken back">{found.steps.slice(0, 12).map((one, at) => <li key={at}><Text of={place(one.resource)} /></li>)}</ul>
          {found.steps.length > 12 && <p className="meta">and {found.steps.length - 12} more</p>}
        </Sure>
      </header>
      {conflicts.map((one, at) => <p key={at} className="warning"><Text of={`${place(one.resource)}: ${one.conflict}`} />. Undo of the session would lose that; single calls can still be taken back.</p>)}
      {found.steps.map((one, at) => one.diff
        ? <Diff key={at} of={one.diff} label={place(one.resource)} />
        : <p key={at} className="step"><Prose of={one.does} />: <Link to="/invocations/$id" params={{ id: one.invocation }}><Text of={place(one.resource)} /></Link></p>)}
    </section>
  );
}
