import { useMemo, useState } from "react";
import { linesOf } from "./diff";
import { Text } from "./Text";
import { plainly } from "./visible";
import { bytes } from "./words";

const SHOWN = 500, LONG = 256 * 1024;

/** A diff; of a long one the beginning, and more when asked for. */
export function Diff({ of, label }: { of: string; label: string }) {
  const [shown, show] = useState(SHOWN);
  const { lines, more } = useMemo(() => linesOf(of, shown), [of, shown]);
  const counted = useMemo(() => (of.length > LONG ? null : linesOf(of).lines), [of]);
  const count = (kind: string) => counted?.filter((one) => one.kind === kind).length ?? 0;
  // what is no diff says why there is none: nobody should take it for an effect that is small
  const said = lines.some((one) => one.kind !== "head") ? [] : lines.map((one) => one.text).filter((one) => one && !/^(?:---|\+\+\+) /.test(one));
  return (
    <section className="diff" aria-label={plainly(label)}>
      <header><code><Text of={label} /></code><span className="spring" /><span className="meta">{counted ? `+${count("add")} −${count("del")} lines` : `${bytes(of.length)} of changes: not all of it is shown at once`}</span></header>
      {said.length > 0 && <p className="warning"><Text of={said.join(" ")} /></p>}
      <div className="scroll" tabIndex={0} role="region" aria-label="Changed lines">
        <table>
          <tbody>
            {lines.map((one, at) => (
              <tr key={at} className={one.kind}>
                <td>{one.before}</td><td>{one.after}</td><td><Text of={one.text.slice(0, 4000)} />{one.text.length > 4000 && <span className="meta"> … {one.text.length - 4000} more characters in this line</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {more && <footer><button type="button" onClick={() => show(shown * 4)}>{counted ? `${counted.length - lines.length} more lines` : "More lines"}</button></footer>}
    </section>
  );
}
