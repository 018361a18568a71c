import { useState } from "react";
import { Text } from "./Text";
import { plainly } from "./visible";

/** Several texts, each a chip of its own: Enter or a comma takes what was typed, Backspace takes the last one away. */
export function Many({ id, label, value, set, placeholder, list, typed: tell }: { id: string; label: string; value: string[]; set: (value: string[]) => void; placeholder?: string; list?: string; typed?: (text: string) => void }) {
  const [typed, type] = useState("");
  const write = (text: string) => { type(text); tell?.(text); };
  const take = (text: string) => {
    const fresh = text.split(",").map((one) => one.trim()).filter((one) => one && !value.includes(one));
    if (fresh.length) set([...value, ...fresh]);
    write("");
  };
  return (
    <div className="many">
      {value.map((one) => (
        <button key={one} type="button" className="chip" aria-label={`Take ${plainly(one)} out of ${label}`} onClick={() => set(value.filter((other) => other !== one))}><Text of={one} /> <span aria-hidden="true">✕</span></button>
      ))}
      <input
        id={id} type="text" value={typed} list={list} placeholder={value.length ? "" : placeholder} autoComplete="off" spellCheck={false}
        onChange={(event) => { if (event.target.value.endsWith(",")) take(event.target.value); else write(event.target.value); }}
        onBlur={() => take(typed)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && typed.trim()) { event.preventDefault(); take(typed); }
          if (event.key === "Backspace" && !typed && value.length) set(value.slice(0, -1));
        }}
      />
    </div>
  );
}
