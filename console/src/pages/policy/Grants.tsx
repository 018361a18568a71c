import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { ask } from "../../api";
import { Ago } from "../../parts/Ago";
import { Failure } from "../../parts/Failure";
import { Slow } from "../../parts/Slow";
import { Text } from "../../parts/Text";
import { moment } from "../../parts/words";
import { PolicyTabs, Revoke, Sentence, type Said, type Version } from "./model";

interface InForce {
  version: Version;
  grants: Said[];
  cursor: string | null;
}

/** The grants in force, each as the sentence that it is. */
export function Grants() {
  const asked: { subject?: unknown } = useSearch({ strict: false });
  const [typed, type] = useState({ subject: typeof asked.subject === "string" ? asked.subject : "", operation: "" });
  const [wanted, want] = useState(typed);
  const found = useInfiniteQuery({
    queryKey: ["policy", "list", wanted], initialPageParam: null as string | null,
    queryFn: ({ pageParam, signal }) => ask<InForce>("policy.list", { ...wanted, limit: 100, ...(pageParam ? { cursor: pageParam } : {}) }, signal),
    getNextPageParam: (page) => page.cursor, placeholderData: (old) => old,
  });
  const version = found.data?.pages[0]?.version;
  const grants = found.data?.pages.flatMap((one) => one.grants) ?? [];
  return (
    <section aria-label="Grants in force">
      <PolicyTabs />
      <form className="tools" role="search" onSubmit={(event) => { event.preventDefault(); want(typed); }}>
        <label>Who <input value={typed.subject} placeholder="agent:builder, role:owner" onChange={(event) => type({ ...typed, subject: event.target.value })} /></label>
        <label>Operation <input value={typed.operation} placeholder="files.write" onChange={(event) => type({ ...typed, operation: event.target.value })} /></label>
        <button type="submit">Show</button>
        <span className="spring" />
        <Link to="/policy/give">Give a right…</Link>
        {version && <span className="meta">Version {version.number}, in force since <Ago at={version.at} />{version.author && <>, by <Text of={version.author} /></>}</span>}
      </form>
      {found.isError && <Failure of={found.error} retry={() => void found.refetch()} />}
      {found.isPending && <Slow />}
      {found.isSuccess && !grants.length && <p className="empty">No grant speaks of that: nothing is allowed without one.</p>}
      <ol className="rows grants" aria-label="Grants">
        {grants.map((one) => (
          <li key={one.id}>
            <details>
              <summary><Sentence of={one} /></summary>
              <pre tabIndex={0}><Text of={JSON.stringify(one.grant, null, 2)} /></pre>
              <p className="tools"><code className="meta"><Text of={one.id} /></code>{!one.id.startsWith("role:") && <><Link to="/policy/simulate" search={{ remove: one.id }}>What if it ended?</Link><Link to="/policy/give" search={{ grant: JSON.stringify(one.grant) }}>Write one like it</Link><span className="spring" /><Revoke of={one} /></>}</p>
            </details>
          </li>
        ))}
      </ol>
      {found.hasNextPage && <button type="button" disabled={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>More</button>}
      {version && <p className="meta">Digest <code title={version.digest}>{version.digest.slice(0, 16)}…</code>, {moment(version.at)}</p>}
    </section>
  );
}
