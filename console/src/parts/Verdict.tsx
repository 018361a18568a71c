const VERDICTS: Record<string, [string, string]> = {
  allow: ["ok", "✓ allow"], ask: ["warn", "◷ ask"], step_up: ["warn", "⚿ second factor"], deny: ["bad", "⊘ deny"], depends: ["info", "? depends"],
};

/** What policy answers: a colour, a sign and the word. */
export function Verdict({ of }: { of: string }) {
  const [look, word] = VERDICTS[of] ?? ["", of];
  return <span className={`chip ${look}`}>{word}</span>;
}
