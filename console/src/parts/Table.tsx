import type { ReactNode } from "react";

export interface Row {
  key: string;
  cells: ReactNode[];
}

/**
 * A table; where there is little room each row is a card in which every value has its head beside it.
 * The roles are named because a table that is laid out otherwise is none to a screen reader any more.
 */
export function Table({ heads, rows, look = "" }: { heads: string[]; rows: Row[]; look?: string }) {
  return (
    <table className={`plain ${look}`} role="table">
      <thead role="rowgroup"><tr role="row">{heads.map((one, at) => <th key={at} role="columnheader" scope="col">{one || <span className="unseen">Do</span>}</th>)}</tr></thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr key={row.key} role="row">
            {row.cells.map((cell, at) => <td key={at} role="cell" data-head={heads[at]}>{cell !== "" && cell !== false && cell !== null && <div>{cell}</div>}</td>)}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
