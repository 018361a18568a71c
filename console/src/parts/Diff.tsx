import { useMemo, useState } from "react";
import { linesOf } from "./diff";
import { Text } from "./Text";

const SHOWN = 500;

/** A diff; of a long one the beginning, and more when asked for. */
export function Diff({ of, label }: { of: string; label: string }) {
  const lines = useMemo(() => linesOf(of), [of]);
  const [shown, show] = useState(SHOWN);
  const added = lines.filter((one) => one.kind === "add").length;
  const removed = lines.filter((one) => one.kind === "del").length;
  return (
    <section className="diff" aria-label={label}>
      <header><code><Text of={label} /></code><span className="spring" /><span className="meta">+{added} −{removed} lines</span></header>
      <div className="scroll" tabIndex={0} role="region" aria-label="Changed lines">
        <table>
          <tbody>
            {lines.slice(0, shown).map((one, at) => (
              <tr key={at} className={one.kind}>
                <td>{one.before}</td><td>{one.after}</td><td><Text of={one.text.slice(0, 4000)} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {lines.length > shown && <footer><button type="button" onClick={() => show(shown * 4)}>{lines.length - shown} more lines</button></footer>}
    </section>
  );
}
