export interface Bar {
  /** what the bar stands for, as its reader says it */
  name: string;
  /** from the bottom up */
  parts: number[];
}

const HEIGHT = 120, STEP = 12;

/** A bar chart, stacked; the same numbers stand in a table for those who do not see it. */
export function Bars({ label, kinds, bars, ends }: { label: string; kinds: { name: string; look: string }[]; bars: Bar[]; ends: [string, string] }) {
  const most = Math.max(1, ...bars.map((one) => one.parts.reduce((sum, part) => sum + part, 0)));
  const top = nice(most);
  const shown = kinds.filter((_, kind) => bars.some((one) => (one.parts[kind] ?? 0) > 0));
  return (
    <figure className="chart">
      <figcaption><strong>{label}</strong><span className="spring" />{shown.map((one) => <span key={one.name} className={`key ${one.look}`}>{one.name}</span>)}</figcaption>
      <div className="plot">
        <span className="axis" aria-hidden="true"><span>{top}</span><span>{top % 2 ? "" : top / 2}</span><span>0</span></span>
        <svg viewBox={`0 0 ${bars.length * STEP} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
          {[0, 0.5, 1].map((one) => <line key={one} x1="0" x2={bars.length * STEP} y1={HEIGHT * one} y2={HEIGHT * one} className="grid" />)}
          {bars.map((one, at) => {
            let y = HEIGHT;
            return one.parts.map((part, kind) => {
              const height = (part / top) * HEIGHT;
              y -= height;
              return part > 0 && <rect key={`${at}-${kind}`} x={at * STEP + 1.5} width={STEP - 3} y={y} height={height} className={kinds[kind]?.look ?? ""}><title>{`${one.name}: ${part} ${kinds[kind]?.name ?? ""}`}</title></rect>;
            });
          })}
        </svg>
        <span /><span className="ends" aria-hidden="true"><span>{ends[0]}</span><span>{ends[1]}</span></span>
      </div>
      <details><summary>As a table</summary>
        <div className="scroll" tabIndex={0} role="region" aria-label={`${label}, as a table`}><table className="plain"><thead><tr><th>When</th>{kinds.map((one) => <th key={one.name}>{one.name}</th>)}</tr></thead>
          <tbody>{bars.filter((one) => one.parts.some((part) => part > 0)).map((one) => <tr key={one.name}><td>{one.name}</td>{kinds.map((kind, at) => <td key={kind.name}>{one.parts[at] ?? 0}</td>)}</tr>)}</tbody></table></div>
      </details>
    </figure>
  );
}

/** The next number that people read easily: 1, 2, 4, 5, 6, 8 or 10 times a power of ten. */
export function nice(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most));
  return ([1, 2, 4, 5, 6, 8].find((one) => one * power >= most) ?? 10) * power;
}
