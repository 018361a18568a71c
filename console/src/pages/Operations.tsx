import { useMutation, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useDeferredValue, useState } from "react";
import { ask, call, previewOf, type Json } from "../api";
import { Risk, State } from "../parts/Chips";
import { Diff } from "../parts/Diff";
import { Failure } from "../parts/Failure";
import { fieldsOf, Form, type Schema } from "../parts/Form";
import type { Found } from "../parts/Palette";
import { Prose } from "../parts/Prose";
import { Slow } from "../parts/Slow";
import { Text } from "../parts/Text";

/** Every operation that one may use, by words. */
export function Operations() {
  const [typed, type] = useState("");
  const query = useDeferredValue(typed.trim());
  const found = useQuery({ queryKey: ["operations", query], queryFn: ({ signal }) => ask<Found>("catalogue.search", { query, limit: 100 }, signal), placeholderData: (old) => old });
  return (
    <section>
      <div className="tools"><label>Find <input type="search" value={typed} onChange={(event) => type(event.target.value)} placeholder="write a file" /></label>
        <span className="meta" role="status">{found.data ? `${found.data.total} operation(s)` : ""}</span></div>
      {found.isError && <Failure of={found.error} retry={() => void found.refetch()} />}
      {found.isPending && <Slow />}
      {found.data?.total === 0 && <p className="empty">No operation fits these words, or none that you may use. Try other words, or a name like <code>files.</code>; who may write grants can give you the right to more.</p>}
      <ol className="rows">
        {found.data?.operations.map((one) => (
          <li key={one.name}>
            <Link to="/operations/$name" params={{ name: one.name }}><code><Text of={one.name} /></code></Link>
            <span className="meta wide"><Prose of={one.summary} /></span><span className="chip">{one.effect.toLowerCase()}</span><Risk of={one.risk} />
          </li>
        ))}
      </ol>
    </section>
  );
}

export interface Described {
  name: string;
  summary: string;
  description: string;
  effect: string;
  risk: string;
  takes_back: string;
  preview: boolean;
  stream: boolean;
  input_schema: Schema;
}

/** One operation: its form, a dry run, the run, and the same call for programs. */
export function Operation() {
  const { name } = useParams({ from: "/operations/$name" });
  const found = useQuery({ queryKey: ["operation", name], queryFn: ({ signal }) => ask<Described>("catalogue.describe", { name }, signal), staleTime: 300_000 });
  if (found.isError) return <Failure of={found.error} retry={() => void found.refetch()} />;
  return found.data ? <Ready key={name} of={found.data} /> : <Slow />;
}

const TAKEN_BACK: Record<string, string> = {
  undo: "↶ can be taken back", compensate: "↶ can be taken back by its inverse", ephemeral: "leaves nothing to take back", nothing: "changes nothing",
};

function Ready({ of }: { of: Described }) {
  const [input, give] = useState<{ [name: string]: Json }>({});
  const run = useMutation({ mutationFn: (dryRun: boolean) => call<Json>(of.name, input, { dryRun }) });
  const shown = run.data;
  const more = of.description.startsWith(of.summary) ? of.description.slice(of.summary.length).replace(/^\.?\s*/, "") : of.description;
  const preview = shown ? previewOf(shown) : null;
  return (
    <article className="detail">
      <h2><code><Text of={of.name} /></code></h2>
      <p><Prose of={of.summary} /></p>
      <p><span className="chip">{of.effect.toLowerCase()}</span> <Risk of={of.risk} /> <span className="chip">{TAKEN_BACK[of.takes_back] ?? "cannot be taken back"}</span></p>
      {more && <p className="description"><Prose of={more} /></p>}
      <form onSubmit={(event) => { event.preventDefault(); run.mutate(false); }}>
        <Form of={of.input_schema} value={input} set={give} />
        <div className="buttons">
          {of.effect !== "READ" && <button type="button" disabled={!of.preview || run.isPending} title={of.preview ? "" : "this operation cannot be rehearsed"} onClick={() => run.mutate(true)}>Dry run</button>}
          <button type="submit" className="primary" disabled={run.isPending || of.stream}>Run</button>
          {of.stream && <span className="meta">A stream: use the command line.</span>}
        </div>
      </form>
      {run.isError && <Failure of={run.error} />}
      {shown && (
        <section aria-label="The answer" aria-live="polite">
          <p><State of={shown.status} /> <Link to="/invocations/$id" params={{ id: shown.invocation }}>the call</Link>{shown.status === "waiting" && <> A person must approve it: <Link to="/approvals/$id" params={{ id: shown.invocation }}>the request</Link>.</>}</p>
          {preview?.summary && <p><Prose of={preview.summary} />{!preview.exact && <span className="meta"> (not exactly)</span>}</p>}
          {preview?.conflicts.map((one) => <p key={one} className="warning"><Text of={one} /></p>)}
          {([["It wrote", preview?.stdout], ["To standard error", preview?.stderr]] as const).map(([name, text]) => text && <div key={name}><p className="meta">{name}</p><pre tabIndex={0}><Text of={text.slice(0, 200_000)} /></pre></div>)}
          {preview?.diff && <Diff of={preview.diff} label={preview.changes[0] ?? of.name} />}
          {preview?.view && <Accept key={preview.view} view={preview.view} digest={preview.digest ?? ""} />}
          {!preview && shown.output !== null && <pre tabIndex={0}><Text of={JSON.stringify(shown.output, null, 2).slice(0, 200_000)} /></pre>}
        </section>
      )}
      <p><Link to="/audit" search={{ operation: of.name }}>Calls of it so far</Link></p>
      <Same name={of.name} input={input} known={fieldsOf(of.input_schema).length > 0} />
    </article>
  );
}

/** Bring in what was rehearsed: that very diff, without running anything again. */
function Accept({ view, digest }: { view: string; digest: string }) {
  const accept = useMutation({ mutationFn: () => call<Json>("sandbox.accept", { view, digest }) });
  return (
    <div>
      {!accept.data && <button type="button" disabled={accept.isPending} onClick={() => accept.mutate()}>Accept this diff</button>}
      {accept.isError && <Failure of={accept.error} />}
      {accept.data && <p role="status"><State of={accept.data.status} /> <Link to="/invocations/$id" params={{ id: accept.data.invocation }}>brought in</Link></p>}
    </div>
  );
}

/** The same call as programs make it. */
function Same({ name, input, known }: { name: string; input: object; known: boolean }) {
  const json = JSON.stringify(input);
  const quoted = json.replaceAll("'", "'\\''");
  return (
    <details>
      <summary>The same call for programs</summary>
      <h3>curl</h3>
      <pre tabIndex={0}>{`curl -s ${location.origin}/v1/operations/${name} -H "Authorization: Bearer $SUPERAGENT_API_KEY" -d '${quoted}'`}</pre>
      <h3>Command line</h3>
      <pre tabIndex={0}>{`superagent --server ${location.origin} call ${name}${known ? ` --input '${quoted}'` : ""}`}</pre>
      <h3>Python</h3>
      <pre tabIndex={0}>{`import json, os, urllib.request\n\nasked = urllib.request.Request(\n    ${JSON.stringify(`${location.origin}/v1/operations/${name}`)},\n    json.dumps(json.loads(${JSON.stringify(json)})).encode(),\n    {"Authorization": "Bearer " + os.environ["SUPERAGENT_API_KEY"]},\n)\nprint(urllib.request.urlopen(asked, timeout=60).read().decode())`}</pre>
    </details>
  );
}
