const RISKS: Record<string, string> = { LOW: "", MEDIUM: "warn", HIGH: "bad", CRITICAL: "bad" };
const STATES: Record<string, [string, string]> = {
  done: ["ok", "✓ done"], failed: ["bad", "✕ failed"], denied: ["bad", "⊘ denied"], refused: ["bad", "⊘ refused"], waiting: ["warn", "◷ waits"],
  running: ["info", "▸ running"], queued: ["info", "▸ queued"], cancelled: ["", "cancelled"], previewed: ["info", "○ rehearsed"], approved: ["ok", "✓ approved"], event: ["", "· noted"], undone: ["", "↶ undone"],
  unknown: ["warn", "? unknown"], interrupted: ["warn", "interrupted"],
};

export function Risk({ of }: { of: string }) {
  return <span className={`chip ${RISKS[of] ?? ""}`}>{of === "HIGH" || of === "CRITICAL" ? "▲ " : ""}{of.toLowerCase()} risk</span>;
}

export function State({ of }: { of: string }) {
  const [look, word] = STATES[of] ?? ["", of];
  return <span className={`chip ${look}`}>{word}</span>;
}
