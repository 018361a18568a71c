import { useQuery } from "@tanstack/react-query";
import { useDeferredValue, useState, type ReactNode } from "react";
import { ask } from "../../api";
import { Many } from "../../parts/Many";
import type { Found } from "../../parts/Palette";
import { plainly } from "../../parts/visible";
import { moment } from "../../parts/words";
import { at, many, put, type Grant } from "./grant";

const EFFECTS = [
  { value: "allow", name: "Allow", says: "without asking" }, { value: "ask", name: "Ask", says: "a person each time" }, { value: "deny", name: "Deny", says: "whatever else allows it" },
];
const ENDS = [["", "not by itself"], ["900", "in 15 minutes"], ["3600", "in an hour"], ["28800", "in 8 hours"], ["86400", "in a day"], ["604800", "in a week"], ["2592000", "in 30 days"]] as const;
const RISKS = ["LOW", "MEDIUM", "HIGH", "CRITICAL"], LEVELS = ["none", "landlock", "native", "container", "vm"];

/** Everybody whom a grant can speak of, as far as one may see them. */
function useSubjects(): string[] {
  const names = (operation: string, of: string, kind: string) => ({
    queryKey: ["access", operation], retry: false, staleTime: 60_000,
    queryFn: ({ signal }: { signal: AbortSignal }) => ask<Record<string, { id: string }[]>>(operation, {}, signal),
    select: (found: Record<string, { id: string }[]>) => (found[of] ?? []).map((one) => `${kind}:${one.id}`),
  });
  const agents = useQuery(names("access.agents.list", "agents", "agent")).data ?? [];
  const people = useQuery(names("access.users.list", "users", "user")).data ?? [];
  const roles = useQuery(names("access.roles.list", "roles", "role")).data ?? [];
  return [...agents, ...people, ...roles];
}

/** The fields of a grant: which calls it speaks of, and on which conditions. */
export function GrantFields({ value, set }: { value: Grant; set: (value: Grant) => void }) {
  const [typed, type] = useState("");
  const wanted = useDeferredValue(typed.trim());
  const known = useQuery({ queryKey: ["palette", wanted], enabled: wanted.length > 1, queryFn: ({ signal }) => ask<Found>("catalogue.search", wanted.includes(".") ? { domain: wanted.split(".")[0], limit: 200 } : { query: wanted, limit: 8 }, signal) });
  const subjects = useSubjects();
  const change = (path: string, to: Parameters<typeof put>[2]) => set(put(value, path, to));
  const text = (path: string) => { const found = at(value, path); return typeof found === "string" ? found : ""; };
  const until = at(value, "when.until"), approvals = at(value, "require.approvals"), effects = many(value, "effects");
  const list = (id: string, label: string, path: string, placeholder: string, help: ReactNode) => (
    <div className="field"><label htmlFor={id}>{label}</label>
      <Many id={id} label={label} value={many(value, path)} set={(to) => change(path, to)} placeholder={placeholder} />
      {help && <p className="meta">{help}</p>}</div>
  );
  const choice = (id: string, label: string, path: string, of: readonly string[], none: string) => (
    <div className="field"><label htmlFor={id}>{label}</label>
      <select id={id} value={text(path)} onChange={(event) => change(path, event.target.value)}><option value="">{none}</option>{of.map((one) => <option key={one} value={one}>{one.toLowerCase()}</option>)}</select></div>
  );
  return (
    <>
      <fieldset className="choices"><legend>It shall</legend>
        {EFFECTS.map((one) => <label key={one.value}><input type="radio" name="effect" value={one.value} checked={value.effect === one.value} onChange={() => set({ ...put(value, "require", undefined), effect: one.value })} /> <span><strong>{one.name}</strong> <span className="meta">{one.says}</span></span></label>)}
      </fieldset>
      <div className="field"><label htmlFor="grant-who">Whom</label>
        <input id="grant-who" type="text" required list="subjects" value={text("subject")} placeholder="agent:builder, user:ann, role:viewer" autoComplete="off" spellCheck={false} onChange={(event) => change("subject", event.target.value.trim())} />
        <datalist id="subjects">{subjects.map((one) => <option key={one} value={one}>{plainly(one)}</option>)}</datalist></div>
      <div className="field"><label htmlFor="grant-operations">Operations</label>
        <Many id="grant-operations" label="Operations" value={many(value, "operations")} set={(to) => change("operations", to)} placeholder="files.read, files.*" list="grant-known" typed={type} />
        <datalist id="grant-known">{known.data?.operations.map((one) => <option key={one.name} value={one.name}>{plainly(one.summary)}</option>)}</datalist>
        <p className="meta">Enter takes each. <code>files.*</code> is all of them that begin so.</p></div>
      {list("grant-paths", "Only below these paths", "where.paths", "/srv/app/**", <><code>*</code> stays within a name, <code>**</code> goes through folders; <code>{"{workspace}"}</code> is the caller’s own.</>)}
      {list("grant-hosts", "Only these hosts", "where.hosts", "example.org:443", null)}
      {list("grant-connections", "Only these connections", "where.connections", "orders-db, sql://orders-db/public.orders", null)}
      <div className="field"><label htmlFor="grant-ends">It ends</label>
        <select id="grant-ends" value="" onChange={(event) => change("when.until", event.target.value ? Math.floor(Date.now() / 1000) + Number(event.target.value) : undefined)}>
          {ENDS.map(([seconds, name]) => <option key={seconds} value={seconds}>{!seconds && typeof until === "number" ? moment(until) : name}</option>)}</select>
        {typeof until === "number" && <p><button type="button" className="link" onClick={() => change("when.until", undefined)}>It shall not end by itself</button></p>}</div>
      {value.effect !== "allow" && (
        <div className="field"><label htmlFor="grant-approvals">{value.effect === "deny" ? "Unless so many people approve" : "How many people must approve"}</label>
          <input id="grant-approvals" type="number" min={1} max={10} step={1} value={typeof approvals === "number" ? approvals : ""} placeholder={value.effect === "deny" ? "never" : "1"} onChange={(event) => change("require", event.target.value === "" ? undefined : { approvals: event.target.valueAsNumber })} /></div>
      )}
      <details><summary>More conditions</summary>
        <fieldset className="choices"><legend>Only what</legend>
          {["READ", "CHANGE", "DESTROY"].map((one) => <label key={one}><input type="checkbox" checked={effects.includes(one)} onChange={(event) => change("effects", event.target.checked ? [...effects, one] : effects.filter((other) => other !== one))} /> {one.toLowerCase()}s</label>)}
          <label><input type="checkbox" checked={at(value, "undoable") === true} onChange={(event) => change("undoable", event.target.checked ? true : undefined)} /> can be taken back</label>
        </fieldset>
        {choice("grant-risk", "At most this risk", "max_risk", RISKS, "any")}
        {choice("grant-isolation", "Contained at least so", "isolation", LEVELS, "as the operation says")}
        <div className="field"><label htmlFor="grant-hours">In these hours (UTC)</label><input id="grant-hours" type="text" value={text("when.hours")} placeholder="mon-fri 08:00-18:00" onChange={(event) => change("when.hours", event.target.value)} /></div>
        {list("grant-cidr", "From these networks", "when.cidr", "10.0.0.0/8", null)}
      </details>
    </>
  );
}
