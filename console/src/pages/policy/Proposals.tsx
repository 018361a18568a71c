import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { ask, call } from "../../api";
import { Ago } from "../../parts/Ago";
import { Diff } from "../../parts/Diff";
import { Failure } from "../../parts/Failure";
import { Sure } from "../../parts/Sure";
import { Slow } from "../../parts/Slow";
import { Text } from "../../parts/Text";
import { PolicyTabs, Sentence, type Said } from "./model";

interface Proposed {
  id: string;
  author: string;
  on_behalf_of: string[];
  at: number;
  reason: string;
  state: string;
  by: string;
  version: number | null;
  adds: number;
  ends: number;
  added: Said[];
  removed: Said[];
  diff: string;
  trouble: string;
  hash: string;
}

const WHICH = ["waiting", "applied", "withdrawn"] as const;

/** Changes of policy that somebody suggested: read exactly what would come into force, then apply exactly that. */
export function Proposals() {
  const [state, which] = useState<(typeof WHICH)[number]>("waiting");
  const found = useQuery({ queryKey: ["policy", "proposals", state], queryFn: ({ signal }) => ask<{ proposals: Proposed[] }>("policy.proposals", { state, limit: 50 }, signal) });
  return (
    <section aria-label="Proposals">
      <PolicyTabs />
      <div className="tools"><label>Show <select value={state} onChange={(event) => which(event.target.value as (typeof WHICH)[number])}>{WHICH.map((one) => <option key={one}>{one}</option>)}</select></label></div>
      {found.isError && <Failure of={found.error} retry={() => void found.refetch()} />}
      {found.isPending && <Slow />}
      {found.isSuccess && !found.data.proposals.length && <p className="empty">No proposal is {state}. <Link to="/policy/simulate">Try a change</Link>, then propose it.</p>}
      <div className="stack">{found.data?.proposals.map((one) => <One key={`${one.id}${one.hash}`} of={one} />)}</div>
    </section>
  );
}

function One({ of }: { of: Proposed }) {
  const client = useQueryClient();
  const settle = { onSettled: () => client.invalidateQueries({ queryKey: ["policy"] }) };
  const apply = useMutation({ mutationFn: (reason: string) => call("policy.apply", { proposal: of.id, hash: of.hash, reason }), ...settle });
  const withdraw = useMutation({ mutationFn: () => call("policy.withdraw", { id: of.id }), ...settle });
  return (
    <article className="card stack" aria-label={`Proposal ${of.id}`}>
      <p><strong><Text of={of.author} /></strong>{of.on_behalf_of.length > 0 && <> for <Text of={of.on_behalf_of.join(", ")} /></>} <span className="meta"><Ago at={of.at} /></span> {of.state !== "waiting" && <span className="chip">{of.state} by <Text of={of.by} />{of.version !== null && `, version ${of.version}`}</span>}</p>
      {of.reason && <p><q><Text of={of.reason} /></q> <span className="chip warn">unverified</span></p>}
      {of.trouble && <p className="warning"><Text of={of.trouble} /></p>}
      {of.added.length > 0 && <><h3>Adds {of.adds}</h3><ul className="plainlist">{of.added.map((one, at) => <li key={at}><Sentence of={one} /></li>)}</ul></>}
      {of.removed.length > 0 && <><h3>Ends {of.ends}</h3><ul className="plainlist">{of.removed.map((one) => <li key={one.id}><Sentence of={one} /></li>)}</ul></>}
      {of.diff && <Diff of={of.diff} label="policy" />}
      {of.state === "waiting" && (
        <div className="buttons">
          {of.hash && (
            <Sure label="Apply…" title="Put exactly this in force?" yes="Apply" why="optional" disabled={of.trouble !== ""} go={(reason) => apply.mutateAsync(reason)}>
              <p>It takes the change with the hash <code>{of.hash.slice(0, 12)}…</code> and no other. Undo brings back the version before.</p>
            </Sure>
          )}
          <Link to="/policy/simulate" search={{ proposal: of.id }}>Replay the past against it</Link>
          <span className="spring" />
          <Sure label="Withdraw" title="End this proposal?" yes="Withdraw" danger go={() => withdraw.mutateAsync()} />
        </div>
      )}
    </article>
  );
}
