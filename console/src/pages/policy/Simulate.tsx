import { useMutation } from "@tanstack/react-query";
import { Link, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { ask, call } from "../../api";
import { Failure } from "../../parts/Failure";
import { Sure } from "../../parts/Sure";
import { Table } from "../../parts/Table";
import { Text } from "../../parts/Text";
import { Verdict } from "../../parts/Verdict";
import { moment, place } from "../../parts/words";
import { grantIn } from "./grant";
import { grantsOf, PolicyTabs, type Said } from "./model";

interface Simulation {
  records: number;
  replayed: number;
  skipped: number;
  flips: { invocation: string; at: number; who: string; operation: string; resources: string[]; recorded: string; now: string; then: string; grants: Said[]; sure: boolean }[];
  flipped: number;
  complete: boolean;
  reached: number | null;
}

const EXAMPLE = '{"effect": "deny", "subject": "agent:builder", "operations": ["files.delete"]}';

/** Replay the calls of the past against another policy, then suggest it. */
export function Simulate() {
  const search: { proposal?: unknown; remove?: unknown; add?: unknown } = useSearch({ strict: false });
  const proposal = typeof search.proposal === "string" ? search.proposal : "";
  const given = grantIn(search.add);
  const [add, write] = useState(given ? JSON.stringify(given, null, 2) : ""), [remove, end] = useState<string>(typeof search.remove === "string" ? search.remove : ""), [wrong, fault] = useState("");
  const change = (): { proposal: string } | { add: object[]; remove: string[] } => {
    const ids = remove.split("\n").map((one) => one.trim()).filter(Boolean);
    return proposal ? { proposal } : { add: grantsOf(add), remove: ids };
  };
  const run = useMutation({ mutationFn: () => ask<Simulation>("policy.simulate", change()) });
  const propose = useMutation({ mutationFn: (reason: string) => call<{ id: string }>("policy.propose", { ...change(), reason }) });
  const tried = () => {
    fault("");
    try {
      change();
    } catch (bug) {
      fault(bug instanceof Error ? bug.message : "this is no JSON");
      return;
    }
    propose.reset();
    run.mutate();
  };
  return (
    <section aria-label="Try a change">
      <PolicyTabs />
      <form className="card stack" onSubmit={(event) => { event.preventDefault(); tried(); }}>
        {proposal ? <p>The proposal <code><Text of={proposal} /></code>, against every call in your audit. <Link to="/policy/simulate" search={{}}>Try something else</Link></p> : (
          <div className="halves">
            <div className="field"><label htmlFor="add">Grants to add, as JSON</label>
              <textarea id="add" rows={5} spellCheck={false} value={add} placeholder={EXAMPLE} aria-invalid={wrong !== ""} aria-describedby="add-help" onChange={(event) => write(event.target.value)} />
              <p id="add-help" className="meta">One, or a list; <Link to="/policy/give">a form writes one</Link>. <button type="button" className="link" onClick={() => write(EXAMPLE)}>Begin with an example</button></p></div>
            <div className="field"><label htmlFor="remove">Grants to end, by id</label>
              <textarea id="remove" rows={5} spellCheck={false} value={remove} placeholder="one a line" onChange={(event) => end(event.target.value)} /></div>
          </div>
        )}
        {wrong && <p className="warning" role="alert"><Text of={wrong} /></p>}
        <div className="buttons"><button type="submit" className="primary" disabled={run.isPending}>{run.isPending ? "Replaying…" : "Replay the past"}</button></div>
      </form>
      <div aria-live="polite" className="stack">
        {run.isError && <Failure of={run.error} />}
        {run.data && <Flips of={run.data} />}
        {run.data && !proposal && !propose.isSuccess && (
          <p><Sure label="Propose this change" title="Propose this change?" yes="Propose" why="why it should be so" go={(reason) => propose.mutateAsync(reason)}><p>It waits under Proposals until somebody who may applies it.</p></Sure></p>
        )}
        {propose.isSuccess && <p role="status" className="good">✓ Proposed: <Link to="/policy/proposals">see it among the proposals</Link>.</p>}
      </div>
    </section>
  );
}

function Flips({ of }: { of: Simulation }) {
  return (
    <section aria-label="What would be answered otherwise" className="stack">
      <h2>{of.flipped === 0 ? "No call of the past would be answered otherwise" : `${of.flipped} call(s) would be answered otherwise`}</h2>
      <p className="meta">{of.replayed} of {of.records} replayed{of.skipped > 0 && <>, {of.skipped} left out (their operation or their caller is gone)</>}{!of.complete && of.reached && <>; older than {moment(of.reached)} not looked at</>}.</p>
      {of.flips.length > 0 && (
        <Table heads={["When", "Who", "Call", "Now", "Then"]} rows={of.flips.map((one) => ({
          key: one.invocation, cells: [
            <span className="when">{moment(one.at)}</span>, <Text of={one.who} />,
            <><Link to="/invocations/$id" params={{ id: one.invocation }}><Text of={one.operation} /></Link> <span className="meta"><Text of={one.resources.slice(0, 2).map(place).join(", ")} /></span></>,
            <Verdict of={one.now} />, <><Verdict of={one.then} />{!one.sure && <span className="meta"> not sure: the record does not hold its input</span>}</>,
          ],
        }))} />
      )}
    </section>
  );
}
