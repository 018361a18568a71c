import { Problem } from "../api";
import { Prose } from "./Prose";

interface Said {
  what: string;
  /** the next step, where whoever failed gave none */
  next: string;
}

/** What failed, what did not happen, and the next step. */
export function Failure({ of, retry }: { of: unknown; retry?: () => void }) {
  const known = of instanceof Problem ? of : null;
  const said = known ? { what: known.message, next: known.hint } : saidOf(of, retry !== undefined);
  const unseen = known?.status === 404 && said.what.startsWith("there is no operation"); // what somebody may not see does not exist for them
  return (
    <div className="failure" role="alert">
      <strong><Prose of={said.what} /></strong>
      {unseen ? <p>Or you may not use it: who may write grants can give you the right to it.</p> : <p><Prose of={said.next || nextOf(known?.status ?? 0)} /></p>}
      {known?.changed === "nothing" && <p className="meta">Nothing was changed.</p>}
      {known?.changed === "partly" && <p>A part of it was done: {known.invocation ? <a href={`/ui/invocations/${known.invocation}`}>see which, and take it back</a> : "the activity shows which"}.</p>}
      {known?.status === 401 && <p><a href={`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`}>Sign in again</a>, then do it again.</p>}
      {known?.slug === "step-up-required" && <p><a href={`/sign-in/step-up?next=${encodeURIComponent(location.pathname + location.search)}`}>Show your second factor</a>, then do it again.</p>}
      {known?.invocation && <p className="meta">Call <a href={`/ui/invocations/${known.invocation}`}><code>{known.invocation}</code></a></p>}
      {retry && <button type="button" onClick={retry}>Try again</button>}
    </div>
  );
}

/** What the browser itself says went wrong, in words that lead on; `looked` where nothing could have been done. */
export function saidOf(fault: unknown, looked = false): Said {
  const name = fault instanceof Error || fault instanceof DOMException ? fault.name : "";
  if (looked && name !== "Error") return { what: "The server does not answer.", next: "Try again; if it stays so, look on its machine whether it runs (`superagent doctor`)." };
  if (name === "TimeoutError") return { what: "The server has not answered within a minute.", next: "What was asked may still go on: look in the activity what became of it before you do it again." };
  if (name === "NotAllowedError" || name === "InvalidStateError") return { what: "The passkey gave no signature.", next: "Nothing was decided. Try again and confirm on your device; it takes a passkey that you added for this address." };
  if (name === "TypeError" || !(fault instanceof Error)) return { what: "The server does not answer.", next: "Nobody knows whether it was done: when the server answers again, look in the activity before you do it again." };
  return { what: fault.message, next: "Put it right and try again." };
}

/** The next step by the kind of answer alone. */
export function nextOf(status: number): string {
  if (status === 401) return "Your session has ended.";
  if (status === 403) return "Who may write grants can give you the right to it.";
  if (status === 404) return "It is gone, or you may not see it: go back to the list and look what there is.";
  if (status === 409 || status === 412) return "It is not as it was when you read it: load the page again, look, and decide then.";
  if (status === 400 || status === 422) return "Put the input right and try again.";
  if (status === 429) return "Wait a moment, then try again.";
  return status >= 500 ? "Try again in a moment; if it stays so, the log of the server tells more under the number of the call." : "Look in the activity what became of it.";
}
