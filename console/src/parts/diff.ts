// Unified diffs as lines with their numbers.

export interface Line {
  kind: "add" | "del" | "same" | "head";
  text: string;
  before: number | null;
  after: number | null;
}

const HUNK = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/;

export interface Part {
  lines: Line[];
  /** whether there is more behind these lines */
  more: boolean;
}

/**
 * Read at most so many lines of a unified diff: of a long one nobody waits for the rest.
 *
 * Within a hunk its own counts say what is content, so that no content can pass for a head. A diff without hunks has no
 * numbers. What is no diff is given as heads.
 */
export function linesOf(diff: string, most = Infinity): Part {
  let before = 0, after = 0, gone = 0, come = 0, plain = false, at = 0;
  const end = diff.endsWith("\n") ? diff.length - 1 : diff.length;
  const lines: Line[] = [];
  const head = (text: string): Line => ({ kind: "head", text, before: null, after: null });
  const read = (text: string, next: boolean): Line => {
    const within = gone > 0 || come > 0;
    if (!within) {
      const hunk = HUNK.exec(text);
      if (hunk) {
        before = Number(hunk[1]); gone = Number(hunk[2] ?? 1); after = Number(hunk[3]); come = Number(hunk[4] ?? 1);
        plain = false;
        return head(text);
      }
      if (text.startsWith("--- ") && next) {
        plain = false;
        return head(text);
      }
      if (text.startsWith("+++ ") && lines.at(-1)?.text.startsWith("--- ")) {
        plain = true; // what follows is content, even if no hunk says so
        return head(text);
      }
      if (!plain) return head(text);
    }
    const number = (one: number) => (within ? one : null);
    if (text.startsWith("+")) {
      come--;
      return { kind: "add", text, before: null, after: number(after++) };
    }
    if (text.startsWith("-")) {
      gone--;
      return { kind: "del", text, before: number(before++), after: null };
    }
    if (text.startsWith(" ") || (within && text === "")) {
      gone--; come--;
      return { kind: "same", text, before: number(before++), after: number(after++) };
    }
    return head(text);
  };
  while (at <= end && lines.length < most) {
    const found = diff.indexOf("\n", at);
    const stop = found < 0 || found > end ? end : found;
    lines.push(read(diff.slice(at, stop), diff.startsWith("+++ ", stop + 1)));
    at = stop + 1;
  }
  return { lines, more: at <= end };
}
