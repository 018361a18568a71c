import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { ask, call } from "../api";
import { Failure } from "../parts/Failure";
import { Text } from "../parts/Text";
import { ago } from "../parts/words";

interface Agent { id: string; owner: string; parent: string; role: string; state: string; created_at: number }
interface Person { id: string; name: string; roles: string[]; state: string; created_at: number }
interface Key { id: string; name: string; kind: string; hint: string; label: string; created_by: string; last_used_at: number | null; expires_at: number | null; revoked_at: number | null }
interface Login { id: string; way: string; client: string; created_at: number; seen_at: number; current: boolean }
interface Grant { id: string; grant: { effect: string; subject: string; operations: string[] } }

/** Who there is, what they hold, and how to stop them. */
export function Access() {
  return (
    <div>
      <StopAll />
      <Part<Agent> title="Agents" ask="access.agents.list" of="agents" heads={["Agent", "For", "State", ""]}
        row={(one, act) => [<Text of={one.id} />, <Text of={one.owner} />, one.state, one.state === "active"
          ? <button type="button" onClick={() => act("access.agents.pause", { id: one.id })}>Pause {one.id}</button>
          : <button type="button" onClick={() => act("access.agents.resume", { id: one.id })}>Resume {one.id}</button>]} />
      <Part<Key> title="Keys" ask="access.keys.list" of="keys" heads={["Key", "Whose", "Last used", ""]}
        row={(one, act) => [<code>{one.hint || one.id}</code>, <Text of={one.name} />, one.last_used_at ? ago(one.last_used_at) : "never",
          one.revoked_at ? "revoked" : <button type="button" onClick={() => { if (confirm(`Revoke the key of ${one.name}?`)) act("access.keys.revoke", { id: one.id }); }}>Revoke {one.hint || one.id}</button>]} />
      <Part<Person> title="People" ask="access.users.list" of="users" heads={["Person", "Roles", "State"]} row={(one) => [<Text of={one.id} />, one.roles.join(", "), one.state]} />
      <Part<Login> title="Your sessions" ask="access.sessions.list" of="sessions" heads={["Client", "By", "Seen", ""]}
        row={(one, act) => [<Text of={one.client} />, one.way, ago(one.seen_at), one.current ? "this one" : <button type="button" onClick={() => act("access.sessions.end", { id: one.id })}>End</button>]} />
      <Part<Grant> title="Grants" ask="grants.list" of="grants" heads={["Grant", "Who", "Operations", ""]}
        row={(one, act) => [<>{one.grant.effect} <code>{one.id}</code></>, <Text of={one.grant.subject} />, <Text of={one.grant.operations.join(", ")} />,
          <button type="button" onClick={() => { if (confirm("Take this grant away?")) act("grants.revoke", { id: one.id }); }}>Revoke {one.id}</button>]} />
    </div>
  );
}

type Act = (operation: string, input: object) => void;

function Part<T extends { id: string }>({ title, ask: operation, of, heads, row }: { title: string; ask: string; of: string; heads: string[]; row: (one: T, act: Act) => ReactNode[] }) {
  const client = useQueryClient();
  const found = useQuery({ queryKey: ["access", operation], queryFn: ({ signal }) => ask<Record<string, T[]>>(operation, {}, signal) });
  const act = useMutation({ mutationFn: (asked: { operation: string; input: object }) => call(asked.operation, asked.input), onSettled: () => client.invalidateQueries({ queryKey: ["access"] }) });
  const all = found.data?.[of] ?? [];
  return (
    <section className="part" aria-label={title}>
      <h2>{title}</h2>
      {found.isError && <Failure of={found.error} retry={() => void found.refetch()} />}
      {act.isError && <Failure of={act.error} />}
      {found.isSuccess && !all.length && <p className="meta">None.</p>}
      {all.length > 0 && (
        <table className="plain">
          <thead><tr>{heads.map((one, at) => <th key={at}>{one || <span className="unseen">Do</span>}</th>)}</tr></thead>
          <tbody>{all.map((one) => <tr key={one.id}>{row(one, (name, input) => act.mutate({ operation: name, input })).map((cell, at) => <td key={at}>{cell}</td>)}</tr>)}</tbody>
        </table>
      )}
    </section>
  );
}

/** The kill switch, and what undoes it. */
function StopAll() {
  const client = useQueryClient();
  const [reason, say] = useState("");
  const stops = useQuery({ queryKey: ["access", "stops"], queryFn: ({ signal }) => ask<{ stops: { id: string; reason: string }[] }>("access.stops.list", {}, signal) });
  const settle = { onSettled: () => client.invalidateQueries({ queryKey: ["access"] }) };
  const stop = useMutation({ mutationFn: () => call("access.stop_all", { reason }), ...settle });
  const release = useMutation({ mutationFn: (id: string) => call("access.release", { id }), ...settle });
  const running = stops.data?.stops ?? [];
  return (
    <section className="part" aria-label="Stop all agents">
      {running.map((one) => (
        <p key={one.id} className="warning" role="status">All agents are stopped: <Text of={one.reason || "no reason given"} /> <button type="button" onClick={() => release.mutate(one.id)}>Release</button></p>
      ))}
      {!running.length && (
        <form className="tools" onSubmit={(event) => { event.preventDefault(); if (confirm("Stop every agent now? What they run is ended.")) stop.mutate(); }}>
          <label>Why <input value={reason} maxLength={500} onChange={(event) => say(event.target.value)} /></label>
          <button type="submit" className="danger">Stop all agents</button>
        </form>
      )}
      {stop.isError && <Failure of={stop.error} />}
      {release.isError && <Failure of={release.error} />}
    </section>
  );
}
