import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { ask } from "../api";
import { Failure } from "../parts/Failure";
import { Prose } from "../parts/Prose";
import { Slow } from "../parts/Slow";
import { Text } from "../parts/Text";

interface Listed {
  name: string;
  state: string;
  version: string;
  summary: string;
  reaches: string[];
  calls: string[];
  extras: string[];
  quality: string;
  operations: string[];
  why: string;
}

const STATES: Record<string, [string, string]> = {
  trusted: ["warn", "runs inside the server"], hosted: ["ok", "contained"], off: ["", "off"], refused: ["bad", "⊘ refused"], connected: ["info", "an MCP server"],
};

/** The plugins of others, and MCP servers: the whole of what each asks for, and how it stands. */
export function Plugins() {
  const found = useQuery({ queryKey: ["plugins"], queryFn: ({ signal }) => ask<{ plugins: Listed[] }>("plugins.list", {}, signal) });
  if (found.isError) return <Failure of={found.error} retry={() => void found.refetch()} />;
  if (!found.data) return <Slow />;
  if (!found.data.plugins.length) return <p className="empty">There is no plugin of others here, and no MCP server: everything you see under <Link to="/operations">Operations</Link> is the platform’s own.</p>;
  return <div className="stack">{found.data.plugins.map((one) => <One key={one.name} of={one} />)}</div>;
}

function One({ of }: { of: Listed }) {
  const [look, word] = STATES[of.state] ?? ["", of.state];
  const list = (some: string[], none: string) => (some.length ? <span className="chips">{some.map((one) => <span key={one} className="chip"><Text of={one} /></span>)}</span> : <span className="meta">{none}</span>);
  return (
    <article className="card stack" aria-label={`Plugin ${of.name}`}>
      <h2><Text of={of.name} /> {of.version && <span className="meta"><Text of={of.version} /></span>} <span className={`chip ${look}`}>{word}</span></h2>
      {of.why && <p className={of.state === "refused" ? "failure" : "warning"}><Prose of={of.why} /></p>}
      {of.summary && <p><Text of={of.summary} /> <span className="chip warn">its author’s words</span></p>}
      <dl className="pairs">
        <div><dt>It reaches</dt><dd>{list(of.reaches, "nothing of the platform")}</dd></div>
        <div><dt>It calls</dt><dd>{list(of.calls, "no other operation")}</dd></div>
        <div><dt>It needs</dt><dd>{list(of.extras, "no other package")}</dd></div>
        {of.quality && <div><dt>It says it is</dt><dd><Text of={of.quality} /></dd></div>}
        <div><dt>It offers</dt><dd>{of.operations.length ? <span className="chips">{of.operations.map((one) => <Link key={one} to="/operations/$name" params={{ name: one }}><code><Text of={one} /></code></Link>)}</span> : <span className="meta">no operation</span>}</dd></div>
      </dl>
    </article>
  );
}
