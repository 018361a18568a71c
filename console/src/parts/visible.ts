// Hostile text: characters that change how others look, or that nobody sees, are shown by their names.

const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]|\udb40[\udc00-\uddef]/g;

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
