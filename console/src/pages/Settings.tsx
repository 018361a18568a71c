import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Dialog } from "radix-ui";
import { useId, useState } from "react";
import { ask, call, previewOf, type Json } from "../api";
import { Failure } from "../parts/Failure";
import { Slow } from "../parts/Slow";
import { Table } from "../parts/Table";
import { Text } from "../parts/Text";
import { useOpener } from "../parts/useOpener";
import { bytes, span } from "../parts/words";

interface Setting {
  name: string;
  value: Json;
  origin: string;
}

/** What is set, where each value comes from, and changing it: rehearsed first, in force from the next start. */
export function Settings() {
  const client = useQueryClient();
  const found = useQuery({ queryKey: ["settings"], queryFn: ({ signal }) => ask<{ settings: Setting[] }>("settings.list", {}, signal) });
  const [typed, type] = useState(""), [own, only] = useState(false), [changing, change] = useState<Setting | null>(null), [written, wrote] = useState<{ name: string; id: string } | null>(null);
  const all = (found.data?.settings ?? []).filter((one) => one.name.includes(typed.trim().toLowerCase()) && (!own || one.origin !== "default"));
  const group = (one: Setting) => one.name.split(".")[0] ?? "";
  const groups = [...new Set(all.map(group))].map((name) => [name, all.filter((one) => group(one) === name)] as const);
  return (
    <div className="stack">
      <div className="tools">
        <label>Find <input type="search" value={typed} placeholder="sandbox" onChange={(event) => type(event.target.value)} /></label>
        <label><input type="checkbox" checked={own} onChange={(event) => only(event.target.checked)} /> only what is set here</label>
        <span className="spring" /><span className="meta">What is written counts from the next start.</span>
      </div>
      {written && <p role="status" className="good">✓ <code>{written.name}</code> is written and counts from the next start. <Link to="/invocations/$id" params={{ id: written.id }}>Take it back</Link></p>}
      {found.isError && <Failure of={found.error} retry={() => void found.refetch()} />}
      {found.isPending && <Slow />}
      {found.isSuccess && !all.length && <p className="empty">No setting fits. <button type="button" onClick={() => { type(""); only(false); }}>Show all</button></p>}
      {groups.map(([group, settings]) => (
        <section key={group} className="part" aria-label={group}>
          <h2>{group}</h2>
          <Table look="settings" heads={["Setting", "Value", "From", ""]} rows={settings.map((one) => ({
            key: one.name, cells: [
              <code>{one.name}</code>, <Value of={one} />, <span className={`chip ${one.origin === "default" ? "" : "info"}`}>{one.origin}</span>,
              <button type="button" aria-label={`Change ${one.name}`} onClick={() => change(one)}>Change…</button>,
            ],
          }))} />
        </section>
      ))}
      {changing && <Change key={changing.name} of={changing} close={() => change(null)} done={(id) => { wrote({ name: changing.name, id }); change(null); void client.invalidateQueries({ queryKey: ["settings"] }); }} />}
    </div>
  );
}

/** A value, and what its number means where its name has a unit. */
function Value({ of }: { of: Setting }) {
  const { name, value } = of;
  if (value === "" || value === null || (Array.isArray(value) && !value.length)) return <span className="meta">{value === null ? "not set" : value === "" ? "empty" : "none"}</span>;
  const unit = typeof value !== "number" ? "" : name.endsWith("_bytes") && value >= 1024 ? bytes(value) : name.endsWith("_s") && value >= 120 ? span(value) : "";
  return <><code><Text of={typeof value === "string" ? value : JSON.stringify(value)} /></code>{unit && <span className="meta"> {unit}</span>}</>;
}

/** Give what somebody typed as a value like the one that is there. Throws `Error` for what is none. */
export function valueOf(text: string, like: Json): Json {
  if (typeof like === "string") return text;
  const wrong = new Error(`This should look like ${JSON.stringify(like)}.`);
  try {
    const value = JSON.parse(text) as Json;
    if (like === null || (typeof value === typeof like && Array.isArray(value) === Array.isArray(like))) return value;
  } catch {
    throw wrong;
  }
  throw wrong;
}

function Change({ of, close, done }: { of: Setting; close: () => void; done: (invocation: string) => void }) {
  const id = useId(), back = useOpener(true);
  const [text, type] = useState(typeof of.value === "string" ? of.value : JSON.stringify(of.value)), [away, take] = useState(false);
  const value = () => (away ? null : valueOf(text, of.value));
  const look = useMutation({ mutationFn: async () => call<Json>("settings.set", { name: of.name, value: value() }, { dryRun: true }) });
  const write = useMutation({ mutationFn: async () => call<Json>("settings.set", { name: of.name, value: value() }), onSuccess: (made) => { if (made.status === "done") done(made.invocation); } });
  const preview = look.data && previewOf(look.data)?.summary;
  const edit = () => { look.reset(); write.reset(); };
  return (
    <Dialog.Root open onOpenChange={(on) => { if (!on) close(); }}>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content className="dialog" aria-describedby={undefined} onCloseAutoFocus={back}>
          <Dialog.Title>Change <code>{of.name}</code></Dialog.Title>
          <form onSubmit={(event) => { event.preventDefault(); if (preview) write.mutate(); else look.mutate(); }}>
            <div className="field"><label htmlFor={id}>Value{typeof of.value === "string" ? "" : ", as JSON"}</label>
              <input id={id} type="text" value={text} disabled={away} spellCheck={false} onChange={(event) => { type(event.target.value); edit(); }} /></div>
            <label className="switch"><input type="checkbox" checked={away} onChange={(event) => { take(event.target.checked); edit(); }} /> take it out of the file: its default counts</label>
            {preview && <p className="good" role="status"><Text of={preview} /></p>}
            {look.isError && <Failure of={look.error} />}
            {write.isError && <Failure of={write.error} />}
            {write.data?.status === "waiting" && <p className="warning" role="status">A person must approve it: <Link to="/approvals/$id" params={{ id: write.data.invocation }}>see the request</Link>.</p>}
            <div className="buttons">
              <Dialog.Close asChild><button type="button">Cancel</button></Dialog.Close>
              <button type="submit" className="primary" disabled={look.isPending || write.isPending}>{preview ? "Write" : "Look first"}</button>
            </div>
          </form>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
