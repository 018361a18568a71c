import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { Dialog } from "radix-ui";
import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { ask, call, isObject, Problem, session, type Json, type Outcome } from "../api";
import { current, subscribe } from "../feed";
import { Ago, useClock } from "../parts/Ago";
import { State } from "../parts/Chips";
import { sign } from "../passkey";
import { Diff } from "../parts/Diff";
import { Failure } from "../parts/Failure";
import { Prose } from "../parts/Prose";
import { Slow } from "../parts/Slow";
import { Text } from "../parts/Text";
import { useList } from "../parts/useList";
import { useOpener } from "../parts/useOpener";
import { search } from "../records";
import { typing } from "../Shell";
import { Revoke, Sentence, wordsOf, type Said as Said_ } from "./policy/model";
import { left, place, title } from "../parts/words";

interface Request {
  id: string;
  operation: string;
  input: { [name: string]: Json };
  requester: string;
  on_behalf_of: string[];
  reason: string;
  resources: string[];
  preview: { summary: string; changes?: string[]; diff?: string; exact?: boolean; conflicts?: string[]; failed?: boolean } | null;
  hash: string;
  approvals_needed: number;
  approved_by: string[];
  asked_at: number;
  until: number;
  asked: number;
  ahead: boolean;
  inside: { operation: string; input: Json } | null;
  untrusted: string;
}

export interface Waiting {
  waiting: Request[];
  cursor: string | null;
}

/** What waits for a person: the list, and the request that is open. */
export function Approvals() {
  const { id } = useParams({ strict: false });
  const navigate = useNavigate();
  const found = useQuery({ queryKey: ["approvals"], queryFn: ({ signal }) => ask<Waiting>("approvals.list", {}, signal), refetchInterval: 5_000 });
  const waiting = useMemo(() => found.data?.waiting ?? [], [found.data]);
  const open = useCallback((at: number) => { const one = waiting[at]; if (one) void navigate({ to: "/approvals/$id", params: { id: one.id } }); }, [navigate, waiting]);
  useList(waiting.length, open, waiting.findIndex((one) => one.id === id)); // by the address: each request is a page of its own
  const same = useMemo(() => waiting.reduce((all, one) => all.set(one.hash, (all.get(one.hash) ?? 0) + 1), new Map<string, number>([["", -1e9]])), [waiting]); // of several sessions
  const chosen = waiting.find((one) => one.id === id);
  const feed = useSyncExternalStore(subscribe, current);
  const stale = found.isError || feed.state === "lost" || feed.state === "ended";
  const changed = useChanged(chosen);
  const [refused, refuse] = useState<Refused | null>(null);
  useClock(); // how much time is left
  if (found.isError && !found.data) return <Failure of={found.error} retry={() => void found.refetch()} />;
  if (!found.data) return <Slow />;
  return (
    <div className={id ? "split opened" : "split"}>
      <section className="list" aria-label="Waiting requests">
        {!waiting.length && <p className="empty">Nothing waits for you. What agents do shows under <Link to="/activity">Activity</Link>.</p>}
        <ol>
          {waiting.map((one) => (
            <li key={one.id}>
              <Link to="/approvals/$id" params={{ id: one.id }} activeProps={{ "aria-current": "true" }}>
                <strong><Text of={title(one.operation, one.resources)} /></strong>
                <span className="meta"><Text of={[one.requester, ...one.on_behalf_of].join(" for ")} /> · {left(one.until)}{one.asked > 1 ? ` · asked × ${one.asked}` : ""}{one.ahead ? " · asked ahead" : ""}{(same.get(one.hash) ?? 0) > 1 ? ` · the same waits × ${same.get(one.hash)}` : ""}</span>
              </Link>
            </li>
          ))}
        </ol>
        <ForAWhile />
      </section>
      {chosen ? <Detail key={`${chosen.id}${chosen.hash}`} of={chosen} stale={stale} changed={changed} refused={refuse} /> : <Gone id={id} others={waiting.length} refused={refused && refused.id === id ? refused.fault : null} />}
    </div>
  );
}

/** Tell whether what is open is another than it was when it was opened. */
function useChanged(chosen: Request | undefined): boolean {
  const read = useRef({ id: "", hash: "" });
  const [changed, set] = useState(false);
  useEffect(() => {
    if (!chosen) return;
    const before = read.current;
    if (before.id !== chosen.id) set(false);
    else if (before.hash !== chosen.hash) set(true);
    read.current = { id: chosen.id, hash: chosen.hash };
  }, [chosen]);
  return changed;
}

const OPEN = new Set(["running", "queued", "waiting"]);

/** A decision of the person's own that was not taken: it is told also once the request has gone from the list. */
interface Refused {
  id: string;
  fault: unknown;
}

const Back = () => <p className="up"><Link to="/approvals">‹ All that waits</Link></p>;

/** What became of a request that does not wait any more: who decided, and how it ended. */
function Gone({ id, others, refused }: { id: string | undefined; others: number; refused: unknown }) {
  const ended = useQuery({
    queryKey: ["job", id], enabled: id !== undefined, retry: false,
    queryFn: ({ signal }) => ask<{ status: string; outcome: Partial<Outcome> & { problem?: { detail?: string; hint?: string } } | null }>("jobs.status", { id }, signal),
    refetchInterval: (query) => (query.state.data && OPEN.has(query.state.data.status) ? 500 : false),
  });
  const decisions = useQuery({ queryKey: ["audit", id], enabled: ended.isSuccess, retry: false, queryFn: ({ signal }) => search({ invocation: id, limit: 50 }, signal) });
  if (!id) return others ? <p className="empty">Choose a request to see what it would do: <kbd>j</kbd> and <kbd>k</kbd> go through them.</p> : <p />;
  const problem = ended.data?.outcome?.problem;
  const decided = decisions.data?.records.filter((one) => one.kind === "approved") ?? [];
  const unseen = ended.error instanceof Problem && (ended.error.status === 404 || ended.error.status === 403);
  return (
    <div className="empty stack" role="status">
      <Back />
      {refused !== null && <><p>Your decision was not taken, and nothing was done for it.</p><Failure of={refused} /></>}
      {unseen ? <>
        <p>You may not see this request, or there is none. If it waits, it goes on waiting for somebody who may decide it.</p>
        <p className="meta">If you could decide it until now, that right was taken from you: who may write grants can give it back.</p>
      </> : <>
        <p>This request does not wait any more. <Link to="/invocations/$id" params={{ id }}>See what became of it</Link>.</p>
        {ended.isError && <Failure of={ended.error} retry={() => void ended.refetch()} />}
        {decided.map((one) => <p key={one.hash}><strong><Text of={one.who} /></strong> {one.decided === "deny" ? "denied" : "approved"} it <Ago at={one.at} />.</p>)}
        {ended.data && <p><State of={ended.data.status} /> {problem?.detail && <Prose of={problem.detail} />}</p>}
        {problem?.hint && <p className="meta"><Prose of={problem.hint} /></p>}
      </>}
    </div>
  );
}

function Detail({ of, stale, changed, refused }: { of: Request; stale: boolean; changed: boolean; refused: (one: Refused | null) => void }) {
  const client = useQueryClient();
  const me = useQuery({ queryKey: ["session"], queryFn: session, staleTime: 60_000 });
  const [asking, ask_] = useState<Asking>("");
  const own = me.data?.person === of.requester;
  const decide = useMutation({
    mutationFn: (input: Said) => decided(of.id, of.hash, input),
    onMutate: () => refused(null),
    onSuccess: () => ask_(""),
    onError: (fault) => refused({ id: of.id, fault }),
    onSettled: () => { void client.invalidateQueries({ queryKey: ["approvals"] }); }, // the answer is not held up by the list
  });
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || own || stale) return;
      if (event.key.toLowerCase() === "a") ask_("approve");
      if (event.key.toLowerCase() === "d") ask_("deny");
      if (event.key.toLowerCase() === "q") ask_("ask");
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [own, stale]);
  const kinds = blast(of.resources);
  const said = of.reason || (typeof of.input.reason === "string" ? of.input.reason : ""); // rights for a while give theirs as an input
  return (
    <section className="detail" aria-label="The request">
      <div className="inside">
        <Back />
        {changed && <p className="warning" role="alert">This is not what you were reading: the request has changed. Read it again.</p>}
        <h2>{of.preview?.summary ? <Prose of={of.preview.summary} /> : <Text of={title(of.operation, of.resources)} />}</h2>
        <p className="meta">Asked <Ago at={of.asked_at} /> by <strong><Text of={of.requester} /></strong>{of.on_behalf_of.length > 0 && <>, for <Text of={of.on_behalf_of.join(", ")} /></>}</p>
        <p>
          <span className="chip warn">◷ {left(of.until)}, then denied</span> <span className="chip">{of.approved_by.length} of {of.approvals_needed} approvals</span>
          {of.ahead && <span className="chip info">asked ahead</span>} {of.preview && !of.preview.failed && !of.preview.exact && <span className="chip warn">preview is not exact</span>}
        </p>
        {of.ahead && <p className="meta">The call is not made yet. Approved, it waits until this very caller makes this very call, once.</p>}
        {of.untrusted && <p className="warning">The caller had read text that is not trusted: <Text of={of.untrusted} />. Whoever wrote that may be asking.</p>}
        <dl className="blast" aria-label="What it reaches">{kinds.map(([kind, names]) => <div key={kind}><dt>{kind}</dt><dd><strong>{names.length}</strong> <span className="meta"><Text of={names.slice(0, 3).join(", ")} /></span></dd></div>)}</dl>
        {of.preview?.failed && <p className="warning">What it would do could not be shown: as things stand it would fail.</p>}
        {of.preview?.diff && <Diff of={of.preview.diff} label={of.preview.changes?.[0] ?? of.operation} />}
        {of.preview?.conflicts?.map((one) => <p key={one} className="warning"><Text of={one} /></p>)}
        {!of.preview && <p className="meta">Nothing is shown ahead: this operation only looks, or you may not see what it would do.</p>}
        <dl className="pairs card">
          <div><dt>The agent says</dt><dd>{said ? <><q><Text of={said} /></q> <span className="chip warn">unverified</span></> : <span className="meta">nothing</span>}</dd></div>
          <div><dt>Why it asks</dt><dd><Trace of={of} /></dd></div>
          <div><dt>It touches</dt><dd><ul>{of.resources.map((one) => <li key={one}><Text of={one} /></li>)}</ul></dd></div>
          <div><dt>Input</dt><dd><pre tabIndex={0}><Text of={JSON.stringify(of.inside ? of.inside.input : of.input, null, 2).slice(0, 20_000)} /></pre></dd></div>
        </dl>
      </div>
      <div className="bar">
        {own ? <span>This is your own request: somebody else decides it.</span> : <>
          <button type="button" className="primary" disabled={stale} onClick={() => ask_("approve")}>Approve once… <kbd>A</kbd></button>
          <button type="button" className="danger" disabled={stale} onClick={() => ask_("deny")}>Deny… <kbd>D</kbd></button>
          <button type="button" disabled={stale} onClick={() => ask_("ask")}>Ask… <kbd>Q</kbd></button>
        </>}
        <span className="spring" />
        <span className="meta">effect <code>{of.hash.slice(0, 12)}…</code>. If anything differs when it runs, approval is void.</span>
      </div>
      <Confirm what={asking} busy={decide.isPending || stale} fault={decide.error} close={() => ask_("")} go={(reason, signed) => { if (asking) decide.mutate({ decision: asking === "approve" ? "approve" : "deny", reason: asking === "ask" ? `A question: ${reason}` : reason, signed }); }} />
    </section>
  );
}

/** What a person can answer; a question ends the request as a denial does, and its agent reads it. */
type Asking = "" | "approve" | "deny" | "ask";

interface Said {
  decision: "approve" | "deny";
  reason: string;
  signed: boolean;
}

/** Decide what was read; where a passkey is wanted, it signs and the decision is sent again. */
async function decided(id: string, hash: string, { signed, ...said }: Said): Promise<void> {
  const input = { id, hash, ...said };
  if (signed) return void (await call("approvals.decide", { ...input, signature: await sign(id, said.decision) }));
  try {
    await call("approvals.decide", input);
  } catch (fault) {
    if (!(fault instanceof Problem && fault.status === 403 && fault.hint.includes("`signature`"))) throw fault;
    await call("approvals.decide", { ...input, signature: await sign(id, said.decision) });
  }
}

const WORDS: Record<Asking, { title: string; field: string; hint: string; yes: string }> = {
  "": { title: "", field: "", hint: "", yes: "" },
  approve: { title: "Approve this once?", field: "Reason", hint: "optional", yes: "Approve" },
  deny: { title: "Deny this?", field: "Reason", hint: "the agent reads this", yes: "Deny" },
  ask: { title: "Send it back with a question?", field: "Question", hint: "what do you need it for?", yes: "Send it back" },
};

function Confirm({ what, busy, fault, close, go }: { what: Asking; busy: boolean; fault: unknown; close: () => void; go: (reason: string, signed: boolean) => void }) {
  const [reason, say] = useState(""), [signed, sign_] = useState(false), back = useOpener(what !== "");
  return (
    <Dialog.Root open={what !== ""} onOpenChange={(on) => { if (!on) close(); }}>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content className="dialog" aria-describedby={undefined} onCloseAutoFocus={back}>
          <Dialog.Title>{WORDS[what].title}</Dialog.Title>
          <form onSubmit={(event) => { event.preventDefault(); go(reason, signed); }}>
            {what === "ask" && <p>Nothing is done: this request ends, its agent reads what you ask, and can ask again with the answer as its reason.</p>}
            <label className="wide-label">{WORDS[what].field} <input value={reason} required={what === "ask"} maxLength={480} onChange={(event) => say(event.target.value)} placeholder={WORDS[what].hint} /></label>
            <p><label><input type="checkbox" checked={signed} onChange={(event) => sign_(event.target.checked)} /> Sign it with my passkey: the record then proves who decided</label></p>
            {fault !== null && fault !== undefined && <Failure of={fault} />}
            <div className="buttons">
              <Dialog.Close asChild><button type="button" autoFocus>Cancel</button></Dialog.Close>
              <button type="submit" className={what === "deny" ? "danger" : "primary"} disabled={busy}>{WORDS[what].yes}</button>
            </div>
          </form>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

interface Trace {
  reason: string;
  grants: Said_[];
  policy_version: number;
}

/** Which grants make it wait, as policy stands now; asked for only by whoever looks. */
function Trace({ of }: { of: Request }) {
  const [open, look] = useState(false);
  const found = useQuery({
    queryKey: ["trace", of.id, of.hash], enabled: open, retry: false,
    queryFn: ({ signal }) => ask<Trace>("policy.explain", { operation: of.inside?.operation ?? of.operation, input: of.inside?.input ?? of.input, actor: `${of.on_behalf_of.length ? "agent" : "user"}:${of.requester}` }, signal)
      .catch((fault: unknown) => { if (fault instanceof Problem && fault.status === 404) return null; throw fault; }),
  });
  return (
    <details onToggle={(event) => look(event.currentTarget.open)}>
      <summary>The grants that decide</summary>
      {found.isError && <Failure of={found.error} />}
      {found.data === null && <p className="meta">You may not look at the grants of others, or this caller is gone: who may write grants can tell you.</p>}
      {found.data && <>
        <p><Text of={found.data.reason} /> <span className="meta">by version {found.data.policy_version}</span></p>
        <ul className="plainlist">{found.data.grants.map((one) => <li key={one.id}><Sentence of={one} /> <code className="meta"><Text of={one.id} /></code></li>)}</ul>
      </>}
    </details>
  );
}

/** Rights that end by themselves: seen while they last, and taken away here. */
function ForAWhile() {
  const found = useQuery({ queryKey: ["access", "grants.list"], retry: false, refetchInterval: 60_000, queryFn: ({ signal }) => ask<{ grants: { id: string; grant: { [name: string]: Json } }[] }>("grants.list", {}, signal) });
  const some = (found.data?.grants ?? []).flatMap((one) => {
    const until = isObject(one.grant.when) ? one.grant.when.until : undefined;
    return typeof until === "number" && until * 1000 > Date.now() && one.grant.effect !== "deny" ? [{ ...one, until, words: wordsOf(one.grant) }] : [];
  });
  if (!some.length) return null;
  return (
    <section className="while" aria-label="Rights for a while">
      <h2>Rights for a while</h2>
      <ul className="plainlist">{some.map((one) => <li key={one.id}><Sentence of={one} /> <span className="meta">{left(one.until)}</span> <Revoke of={one} /></li>)}</ul>
    </section>
  );
}

function blast(resources: string[]): [string, string[]][] {
  const found = new Map<string, string[]>();
  for (const one of resources) {
    const kind = /^(?:[A-Z]+ )?([a-z]+):\/\//.exec(one)?.[1] ?? "other";
    found.set(kind, [...(found.get(kind) ?? []), place(one)]);
  }
  return [...found];
}
