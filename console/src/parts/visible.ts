// Hostile text: characters that change how others look, or that nobody sees, are shown by their names.

// controls but tab and line feed, format characters, what is ignored when it cannot be drawn, private use, line separators,
// the blank Braille cell, and marks that pile up on a letter until they lie over other lines
const HIDDEN = /(?![\t\n])[\p{Cc}\p{Cf}\p{DI}\p{Co}\u2028\u2029\u2800]|(?<=\p{M}{4})\p{M}/gu;

export interface Piece {
  text: string;
  hidden: boolean;
}

/** Cut a text into what can be shown as it is and what is shown by its code point. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > from) found.push({ text: text.slice(from, match.index), hidden: false });
    const point = (match[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
    found.push({ text: `U+${point}`, hidden: true });
    from = match.index + match[0].length;
  }
  if (from < text.length || !found.length) found.push({ text: text.slice(from), hidden: false });
  return found;
}

/** The same where only plain text can stand: options, titles, labels. */
export function plainly(text: string): string {
  return pieces(text).map((one) => (one.hidden ? `[${one.text}]` : one.text)).join("");
}
