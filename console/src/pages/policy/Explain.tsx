import { useMutation, useQuery } from "@tanstack/react-query";
import { useDeferredValue, useState } from "react";
import { ask, Problem, type Json } from "../../api";
import { Failure } from "../../parts/Failure";
import { Form } from "../../parts/Form";
import type { Found } from "../../parts/Palette";
import { Text } from "../../parts/Text";
import { Verdict } from "../../parts/Verdict";
import { plainly } from "../../parts/visible";
import { place } from "../../parts/words";
import type { Described } from "../Operations";
import { PolicyTabs, Sentence, type Said } from "./model";

interface Explanation {
  operation: string;
  actor: string;
  verdict: string;
  status: number;
  reason: string;
  problem: { title?: string; detail?: string } | null;
  require: { [name: string]: Json } | null;
  grants: Said[];
  hops: { who: string; kind: string; verdict: string; grants: string[] }[];
  resources: string[];
  policy_version: number;
}

/** What would be answered to a call, and by which grants, without making it. */
export function Explain() {
  const [operation, name] = useState(""), [actor, act] = useState(""), [remote, from] = useState("");
  const [input, give] = useState<{ [name: string]: Json }>({});
  const wanted = useDeferredValue(operation.trim());
  const known = useQuery({ queryKey: ["palette", wanted], enabled: wanted.length > 1, queryFn: ({ signal }) => ask<Found>("catalogue.search", { query: wanted, limit: 8 }, signal) });
  const exact = known.data?.operations.some((one) => one.name === wanted) ?? false;
  const described = useQuery({ queryKey: ["operation", wanted], enabled: exact, staleTime: 300_000, queryFn: ({ signal }) => ask<Described>("catalogue.describe", { name: wanted }, signal) });
  const explain = useMutation({
    mutationFn: () => ask<Explanation>("policy.explain", {
      operation: operation.trim(), ...(actor.trim() ? { actor: actor.trim() } : {}), ...(remote.trim() ? { remote: remote.trim() } : {}),
      ...(Object.keys(input).length ? { input } : {}),
    }),
  });
  return (
    <section aria-label="Explain a call">
      <PolicyTabs />
      <div className="halves">
        <form className="card" onSubmit={(event) => { event.preventDefault(); explain.mutate(); }}>
          <div className="field"><label htmlFor="of-operation">Operation</label>
            <input id="of-operation" type="text" required list="operations" value={operation} placeholder="files.write" onChange={(event) => { name(event.target.value); give({}); }} />
            <datalist id="operations">{known.data?.operations.map((one) => <option key={one.name} value={one.name}>{plainly(one.summary)}</option>)}</datalist></div>
          <div className="field"><label htmlFor="of-actor">Who calls</label>
            <input id="of-actor" type="text" value={actor} placeholder="you; or agent:builder, user:ann, key:…" onChange={(event) => act(event.target.value)} /></div>
          <details><summary>Suppose something</summary>
            <div className="field"><label htmlFor="of-remote">The caller’s address</label><input id="of-remote" type="text" value={remote} placeholder="203.0.113.7" onChange={(event) => from(event.target.value)} /></div>
          </details>
          {described.data && <Form key={wanted} of={described.data.input_schema} value={input} set={give} />}
          {described.data && <p className="meta">Without any input it says what can be said of all of them.</p>}
          <div className="buttons"><button type="submit" className="primary" disabled={explain.isPending}>Explain</button></div>
        </form>
        <div aria-live="polite" className="stack">
          {explain.isError && <Failure of={explain.error} />}
          {explain.error instanceof Problem && explain.error.status === 404 && <p className="meta">What somebody may not see does not exist for them.</p>}
          {explain.data ? <Answer of={explain.data} /> : !explain.isError && <p className="empty">Ask what would be answered to a call. Nothing is done.</p>}
        </div>
      </div>
    </section>
  );
}

function Answer({ of }: { of: Explanation }) {
  const approvals = typeof of.require?.approvals === "number" ? of.require.approvals : 0;
  return (
    <section className="card stack" aria-label="The answer">
      <h2><Verdict of={of.verdict} /> <code><Text of={of.operation} /></code></h2>
      <p><Text of={of.problem?.detail ?? of.reason} /></p>
      <p className="meta">For <Text of={of.actor} />, by version {of.policy_version}{of.status > 0 && <>; HTTP would answer {of.status}</>}{approvals > 0 && <>; {approvals} approval(s)</>}.</p>
      {of.grants.length > 0 && <><h3>These grants decide</h3><ul className="plainlist">{of.grants.map((one) => <li key={one.id}><Sentence of={one} /> <code className="meta"><Text of={one.id} /></code></li>)}</ul></>}
      {of.hops.length > 1 && <><h3>Each who acts, alone: the strictest counts</h3><ul className="plainlist">{of.hops.map((one) => <li key={one.who}><Verdict of={one.verdict} /> <strong><Text of={one.who} /></strong> <span className="meta">{one.kind}</span></li>)}</ul></>}
      {of.resources.length > 0 && <><h3>It would touch</h3><ul>{of.resources.map((one) => <li key={one}><Text of={place(one)} /></li>)}</ul></>}
    </section>
  );
}
