// Unified diffs as lines with their numbers.

export interface Line {
  kind: "add" | "del" | "same" | "head";
  text: string;
  before: number | null;
  after: number | null;
}

const HUNK = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@/;

export interface Part {
  lines: Line[];
  /** whether there is more behind these lines */
  more: boolean;
}

/** Read at most so many lines of a unified diff: of a long one nobody waits for the rest. What is no diff is given as heads. */
export function linesOf(diff: string, most = Infinity): Part {
  let before = 0, after = 0, within = false, at = 0;
  const end = diff.endsWith("\n") ? diff.length - 1 : diff.length;
  const lines: Line[] = [];
  const read = (text: string): Line => {
    const hunk = HUNK.exec(text);
    if (hunk) {
      before = Number(hunk[1]); after = Number(hunk[2]); within = true;
      return { kind: "head", text, before: null, after: null };
    }
    if (!within || text.startsWith("--- ") || text.startsWith("\\")) {
      if (text.startsWith("--- ")) within = false;
      return { kind: "head", text, before: null, after: null };
    }
    if (text.startsWith("+")) return { kind: "add", text, before: null, after: after++ };
    if (text.startsWith("-")) return { kind: "del", text, before: before++, after: null };
    return { kind: "same", text, before: before++, after: after++ };
  };
  while (at <= end && lines.length < most) {
    const found = diff.indexOf("\n", at);
    const stop = found < 0 || found > end ? end : found;
    lines.push(read(diff.slice(at, stop)));
    at = stop + 1;
  }
  return { lines, more: at <= end };
}
