// Unified diffs as lines with their numbers.

export interface Line {
  kind: "add" | "del" | "same" | "head";
  text: string;
  before: number | null;
  after: number | null;
}

const HUNK = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@/;

/** Read a unified diff. What is no diff is given as lines that are the same. */
export function linesOf(diff: string): Line[] {
  let before = 0, after = 0, within = false;
  return diff.replace(/\n$/, "").split("\n").map((text): Line => {
    const hunk = HUNK.exec(text);
    if (hunk) {
      before = Number(hunk[1]); after = Number(hunk[2]); within = true;
      return { kind: "head", text, before: null, after: null };
    }
    if (!within || text.startsWith("--- ") || text.startsWith("\\")) {
      if (text.startsWith("--- ")) within = false;
      // rows of a table come and go without hunks and numbers
      if (!within && /^[+-](?!\+\+ |-- )/.test(text)) return { kind: text.startsWith("+") ? "add" : "del", text, before: null, after: null };
      return { kind: "head", text, before: null, after: null };
    }
    if (text.startsWith("+")) return { kind: "add", text, before: null, after: after++ };
    if (text.startsWith("-")) return { kind: "del", text, before: before++, after: null };
    return { kind: "same", text, before: before++, after: after++ };
  });
}
