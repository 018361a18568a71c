import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { call, previewOf, type Json } from "../../api";
import { Failure } from "../../parts/Failure";
import { Text } from "../../parts/Text";
import { grantIn, NEW, type Grant } from "./grant";
import { GrantFields } from "./GrantFields";
import { PolicyTabs } from "./model";

/** Give a right, or forbid something: by a form, looked at before it counts. */
export function Give() {
  const client = useQueryClient(), navigate = useNavigate();
  const search: { grant?: unknown } = useSearch({ strict: false });
  const [grant, edit] = useState<Grant>(() => grantIn(search.grant) ?? NEW);
  const look = useMutation({ mutationFn: () => call<Json>("grants.create", { grant }, { dryRun: true }) });
  const give = useMutation({ mutationFn: () => call<{ id: string }>("grants.create", { grant }), onSettled: () => Promise.all(["policy", "access"].map((one) => client.invalidateQueries({ queryKey: [one] }))) });
  const preview = look.data ? previewOf(look.data)?.summary : undefined;
  const set = (to: Grant) => { edit(to); look.reset(); give.reset(); };
  const tried = () => {
    // what was typed stays in the address: whoever must show a second factor comes back to it
    void navigate({ to: "/policy/give", search: { grant: JSON.stringify(grant) }, replace: true });
    if (preview) give.mutate();
    else look.mutate();
  };
  const made = give.data?.status === "done" ? give.data : null;
  return (
    <section aria-label="Give a right">
      <PolicyTabs />
      <div className="halves">
        <form className="card stack" aria-label="The grant" onSubmit={(event) => { event.preventDefault(); tried(); }}>
          <GrantFields value={grant} set={set} />
          <div className="buttons">
            <button type="submit" className="primary" disabled={look.isPending || give.isPending || made !== null}>{preview ? "Put it in force" : "Look first"}</button>
            <Link to="/policy/simulate" search={{ add: JSON.stringify(grant) }}>Replay the past against it</Link>
          </div>
        </form>
        <div className="stack" aria-live="polite">
          {made ? (
            <p className="good" role="status">✓ In force within a second, as <code><Text of={made.output.id} /></code>. <Link to="/invocations/$id" params={{ id: made.invocation }}>Take it back</Link> · <Link to="/policy">All grants</Link></p>
          ) : preview ? <p className="good" role="status"><Text of={preview} />. Nothing is done yet.</p> : <p className="meta">Look first: what it would do stands here, and nothing is done.</p>}
          {give.data?.status === "waiting" && <p className="warning" role="status">A person must approve it: <Link to="/approvals/$id" params={{ id: give.data.invocation }}>see the request</Link>.</p>}
          {look.isError && <Failure of={look.error} />}
          {give.isError && <Failure of={give.error} />}
          <section className="card stack" aria-label="As it is written"><h3>The same, as policy is written</h3><pre tabIndex={0}><Text of={JSON.stringify(grant, null, 2)} /></pre></section>
        </div>
      </div>
    </section>
  );
}
