import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { ask } from "../../api";
import { Diff } from "../../parts/Diff";
import { Failure } from "../../parts/Failure";
import { Slow } from "../../parts/Slow";
import { Text } from "../../parts/Text";
import { moment } from "../../parts/words";
import { PolicyTabs, Sentence, type Said, type Version } from "./model";

/** Who changed the policy, when and why; and what differs. */
export function Versions() {
  const found = useInfiniteQuery({
    queryKey: ["policy", "versions"], initialPageParam: null as number | null,
    queryFn: ({ pageParam, signal }) => ask<{ versions: Version[]; cursor: number | null }>("policy.versions", { limit: 50, ...(pageParam ? { cursor: pageParam } : {}) }, signal),
    getNextPageParam: (page) => page.cursor,
  });
  const all = found.data?.pages.flatMap((one) => one.versions) ?? [];
  return (
    <section aria-label="Versions">
      <PolicyTabs />
      {found.isError && <Failure of={found.error} retry={() => void found.refetch()} />}
      {found.isPending && <Slow />}
      <ol className="rows grants" aria-label="Versions of the policy">{all.map((one) => <One key={one.number} of={one} />)}</ol>
      {found.hasNextPage && <button type="button" disabled={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>Older</button>}
    </section>
  );
}

function One({ of }: { of: Version }) {
  const [open, look] = useState(false);
  const changed = useQuery({
    queryKey: ["policy", "diff", of.number], enabled: open && of.number > 1,
    queryFn: ({ signal }) => ask<{ changes: number; added: Said[]; removed: Said[]; diff: string }>("policy.diff", { to: of.number }, signal),
  });
  return (
    <li>
      <details onToggle={(event) => look(event.currentTarget.open)}>
        <summary><strong>Version {of.number}</strong> <span className="meta">{moment(of.at)}{of.author && <> by <Text of={of.author} /></>}</span> <Text of={of.reason} /></summary>
        {of.number === 1 && <p className="meta">The first: there is nothing before it.</p>}
        {changed.isError && <Failure of={changed.error} />}
        {changed.data && (changed.data.changes === 0
          ? <p className="meta">The grants that people write are the same; those of keys, or built-in roles, are others.</p>
          : <>
            <ul className="plainlist">
              {changed.data.added.map((one, at) => <li key={`+${at}`}>+ <Sentence of={one} /></li>)}
              {changed.data.removed.map((one, at) => <li key={`-${at}`}>− <Sentence of={one} /></li>)}
            </ul>
            <Diff of={changed.data.diff} label={`version ${of.number}`} />
          </>)}
      </details>
    </li>
  );
}
