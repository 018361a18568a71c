import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { ask } from "../api";
import { search } from "../records";
import { State } from "../parts/Chips";
import { Failure } from "../parts/Failure";
import { Slow } from "../parts/Slow";
import { Text } from "../parts/Text";
import { moment, place, short } from "../parts/words";

interface Verdict {
  ok: boolean;
  records: number;
  checkpoints: number;
  faults: { [name: string]: unknown }[];
}

const FIELDS = ["text", "actor", "operation"];

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
  const records = found.data?.pages.flatMap((one) => one.records) ?? [];
  return (
    <section>
      <form className="tools" role="search" onSubmit={(event) => { event.preventDefault(); void navigate({ to: "/audit", search: Object.fromEntries(Object.entries(typed).filter(([, value]) => value)) }); }}>
        <label>Text <input type="search" value={typed.text} onChange={(event) => type({ ...typed, text: event.target.value })} /></label>
        <label>Who <input value={typed.actor} onChange={(event) => type({ ...typed, actor: event.target.value })} /></label>
        <label>Operation <input value={typed.operation} onChange={(event) => type({ ...typed, operation: event.target.value })} /></label>
        <button type="submit">Search</button>
        <span className="spring" />
        <button type="button" disabled={verify.isPending} onClick={() => verify.mutate()}>{verify.isPending ? "Verifying…" : "Verify"}</button>
      </form>
      {verify.data && (verify.data.ok
        ? <p role="status" className="good">✓ {verify.data.records} records and {verify.data.checkpoints} signed checkpoints: nobody rewrote them.</p>
        : <p role="alert" className="failure">✕ {verify.data.faults.length} fault(s): <Text of={JSON.stringify(verify.data.faults[0] ?? {})} /></p>)}
      {verify.isError && <Failure of={verify.error} />}
      {found.isError && <Failure of={found.error} retry={() => void found.refetch()} />}
      {found.isPending && <Slow />}
      {found.isSuccess && !records.length && <p className="empty">No record fits.</p>}
      {records.length > 0 && (
        <table className="plain">
          <thead><tr><th>When</th><th>Who</th><th>Operation</th><th>What</th><th>Outcome</th></tr></thead>
          <tbody>{records.map((one) => (
            <tr key={one.hash}>
              <td>{moment(one.at)}</td><td><Text of={one.by} /></td>
              <td><Link to="/invocations/$id" params={{ id: one.invocation }}><Text of={one.operation} /></Link></td>
              <td><Text of={one.resources.slice(0, 2).map((pair) => short(place(pair[0]))).join(", ")} /></td>
              <td><State of={one.state} /></td>
            </tr>
          ))}</tbody>
        </table>
      )}
      {found.hasNextPage && <button type="button" disabled={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>Older</button>}
    </section>
  );
}
