import { Problem } from "../api";
import { Prose } from "./Prose";

/** What failed, what did not happen, and the next step. */
export function Failure({ of, retry }: { of: unknown; retry?: () => void }) {
  const known = of instanceof Problem ? of : null;
  const said = known ? known.message : of instanceof Error && of.name !== "TypeError" ? of.message : "The server does not answer.";
  const unseen = known?.status === 404 && said.startsWith("there is no operation"); // what somebody may not see does not exist for them
  return (
    <div className="failure" role="alert">
      <strong><Prose of={said} /></strong>
      {known?.hint && !unseen && <p><Prose of={known.hint} /></p>}
      {known?.changed === "nothing" && <p className="meta">Nothing was changed.</p>}
      {unseen && <p>Or you may not use it: who may write grants can give you the right to it.</p>}
      {known?.status === 401 && <p><a href={`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`}>Sign in again</a>, then do it again.</p>}
      {known?.slug === "step-up-required" && <p><a href={`/sign-in/step-up?next=${encodeURIComponent(location.pathname + location.search)}`}>Show your second factor</a>, then do it again.</p>}
      {known?.invocation && <p className="meta">Call <code>{known.invocation}</code></p>}
      {retry && <button type="button" onClick={retry}>Try again</button>}
    </div>
  );
}
