import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { ask } from "../api";
import { looks, search } from "../records";
import { State } from "../parts/Chips";
import { Failure } from "../parts/Failure";
import { Slow } from "../parts/Slow";
import { Table } from "../parts/Table";
import { Text } from "../parts/Text";
import { moment, place, short } from "../parts/words";

interface Verdict {
  ok: boolean;
  records: number;
  checkpoints: number;
  faults: { [name: string]: unknown }[];
}

const FIELDS = ["text", "actor", "operation"];
const CHANGES = "changes"; // in the address: what only looks is left out

/** Search what was recorded, and prove that nobody rewrote it. */
export function Audit() {
  const navigate = useNavigate();
  const search_: { [name: string]: unknown } = useSearch({ strict: false });
  const filters = Object.fromEntries(FIELDS.flatMap((name) => (search_[name] === undefined ? [] : [[name, String(search_[name])]])));
  const [typed, type] = useState({ text: "", actor: "", operation: "", ...filters });
  const found = useInfiniteQuery({
    queryKey: ["audit-search", filters], initialPageParam: null as string | null,
    queryFn: ({ pageParam, signal }) => search({ ...filters, limit: 50, ...(pageParam ? { cursor: pageParam } : {}) }, signal),
    getNextPageParam: (page) => page.cursor,
  });
  const verify = useMutation({ mutationFn: () => ask<Verdict>("audit.verify") });
  const all = found.data?.pages.flatMap((one) => one.records) ?? [];
  const calm = search_[CHANGES] !== undefined;
  const records = calm ? all.filter((one) => !looks(one)) : all;
  const go = (only: boolean) => void navigate({ to: "/audit", search: { ...Object.fromEntries(Object.entries(typed).filter(([, value]) => value)), ...(only ? { [CHANGES]: 1 } : {}) } });
  return (
    <section>
      <form className="tools" role="search" onSubmit={(event) => { event.preventDefault(); go(calm); }}>
        <label>Text <input type="search" value={typed.text} onChange={(event) => type({ ...typed, text: event.target.value })} /></label>
        <label>Who <input value={typed.actor} onChange={(event) => type({ ...typed, actor: event.target.value })} /></label>
        <label>Operation <input value={typed.operation} onChange={(event) => type({ ...typed, operation: event.target.value })} /></label>
        <label><input type="checkbox" checked={calm} onChange={(event) => go(event.target.checked)} /> without what only looks</label>
        <button type="submit">Search</button>
        <span className="spring" />
        <button type="button" disabled={verify.isPending} onClick={() => verify.mutate()}>{verify.isPending ? "Verifying…" : "Verify"}</button>
      </form>
      {verify.data && (verify.data.ok
        ? <p role="status" className="good">✓ {verify.data.records} records and {verify.data.checkpoints} signed checkpoints: nobody rewrote them.</p>
        : <div role="alert" className="failure"><strong>✕ {verify.data.faults.length} fault(s): what was recorded is not what stands there.</strong>
          <p>The first: <code><Text of={JSON.stringify(verify.data.faults[0] ?? {})} /></code></p>
          <p>Keep the data folder as it is, and compare it with a backup or an exported audit; <code>superagent audit verify</code> names every fault.</p></div>)}
      {verify.isError && <Failure of={verify.error} />}
      {found.isError && <Failure of={found.error} retry={() => void found.refetch()} />}
      {found.isPending && <Slow />}
      {found.isSuccess && !records.length && <p className="empty">{all.length ? "Of these, every record only looks." : "No record fits."} {found.hasNextPage ? "There are older ones." : <Link to="/audit" search={{}} onClick={() => type({ text: "", actor: "", operation: "" })}>Show all records</Link>}</p>}
      {records.length > 0 && (
        <Table look="audit" heads={["When", "Who", "Operation", "What", "Outcome"]} rows={records.map((one) => ({
          key: one.hash, cells: [
            <span className="when">{moment(one.at)}</span>, <Text of={one.by} />, <Link to="/invocations/$id" params={{ id: one.invocation }}><Text of={one.operation} /></Link>,
            one.resources.length > 0 && <Text of={one.resources.slice(0, 2).map((pair) => short(place(pair[0]))).join(", ")} />, <State of={one.state} />,
          ],
        }))} />
      )}
      {found.hasNextPage && <button type="button" disabled={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>Older</button>}
    </section>
  );
}
