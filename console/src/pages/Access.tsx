import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { ask, call, isObject, type Json } from "../api";
import { Ago } from "../parts/Ago";
import { Failure } from "../parts/Failure";
import { Form } from "../parts/Form";
import { Sure } from "../parts/Sure";
import { Slow } from "../parts/Slow";
import { Table } from "../parts/Table";
import { Text } from "../parts/Text";
import { left } from "../parts/words";
import type { Described } from "./Operations";
import { Revoke, Sentence, wordsOf } from "./policy/model";

interface Agent { id: string; kind: string; owner: string; parent: string; role: string | null; state: string; created_at: number }
interface Person { id: string; name: string; roles: string[]; state: string; created_at: number }
interface Key { id: string; name: string; kind: string; hint: string; label: string; created_by: string; last_used_at: number | null; expires_at: number | null; revoked_at: number | null }
interface Login { id: string; way: string; client: string; created_at: number; seen_at: number; ends_at: number; current: boolean }
interface Grant { id: string; grant: { [name: string]: Json } }
interface Role { id: string; summary: string; built_in: boolean }
interface Consent { id: string; client: string; client_name: string; person: string; scopes: string[]; expires_at: number }
interface Connection { name: string; type: string; endpoint: string; host: string; secret: string | null }

const STATES: Record<string, string> = { active: "ok", paused: "warn", suspended: "warn", revoked: "", removed: "" };
const Mark = ({ of }: { of: string }) => <span className={`chip ${STATES[of] ?? ""}`}>{of}</span>;
const Names = ({ of }: { of: string[] }) => <>{of.map((one) => <span key={one} className="chip"><Text of={one} /></span>)}</>;

/** Who there is, what they hold, and how to stop them. */
export function Access() {
  return (
    <div className="access">
      <StopAll />
      <Part<Agent> title="Agents" ask="access.agents.list" of="agents" heads={["Agent", "For", "Role", "State", ""]} name={(one) => one.id}
        row={(one, act) => [<strong><Text of={one.id} /></strong>, <Text of={one.owner} />, one.role ? <Names of={[one.role]} /> : "", <Mark of={one.state} />, one.state === "active"
          ? <button type="button" onClick={() => void act("access.agents.pause", { id: one.id })}>Pause <Text of={one.id} /></button>
          : one.state === "paused" && <button type="button" onClick={() => void act("access.agents.resume", { id: one.id })}>Resume <Text of={one.id} /></button>]} />
      <Part<Key> title="Keys" ask="access.keys.list" of="keys" heads={["Key", "Whose", "Last used", ""]} name={(one) => one.id}
        row={(one, act) => [<code><Text of={one.hint || one.id} /></code>, <Text of={one.name} />, one.last_used_at ? <Ago at={one.last_used_at} /> : <span className="meta">never</span>,
          one.revoked_at ? <Mark of="revoked" /> : <Sure label={<>Revoke <Text of={one.hint || one.id} /></>} title={<>Revoke the key of <Text of={one.name} />?</>} yes="Revoke" danger go={() => act("access.keys.revoke", { id: one.id })}><p>Whoever holds it is refused from then on. It cannot be brought back; a new one can be made.</p></Sure>]} />
      <Part<Person> title="People" ask="access.users.list" of="users" heads={["Person", "State", "Roles"]} name={(one) => one.id}
        row={(one) => [<><strong><Text of={one.id} /></strong> {one.name !== one.id && <span className="meta"><Text of={one.name} /></span>}</>, <Mark of={one.state} />, <Names of={one.roles} />]} />
      <Part<Role> title="Roles" ask="access.roles.list" of="roles" heads={["Role", "What it is for"]} name={(one) => one.id} shows={(one) => !one.built_in}
        row={(one) => [<Granted to={one.id} />, one.summary ? <Text of={one.summary} /> : <span className="meta">nobody said</span>]}
        rest={(some) => <p className="chips"><span className="meta">Built in:</span> {some.map((one) => <Granted key={one.id} to={one.id} />)}</p>} />
      <Part<Login> title="Your sessions" ask="access.sessions.list" of="sessions" heads={["Client", "Signed in by", "Seen", "Ends", ""]} name={(one) => one.id}
        row={(one, act) => [<strong><Text of={one.client || "A browser"} /></strong>, <Text of={one.way} />, <Ago at={one.seen_at} />, left(one.ends_at), one.current ? <span className="chip ok">this one</span>
          : <Sure label={<>End<span className="unseen"> the session of <Text of={one.client || "a browser"} /></span></>} title="End this session?" yes="End it" danger go={() => act("access.sessions.end", { id: one.id })}><p>Whoever is signed in there sees nothing any more, and has to sign in again.</p></Sure>]} />
      <Connections />
      <Part<Consent> title="Consents" ask="access.consents.list" of="consents" heads={["Client", "For", "May", "Until", ""]} name={(one) => one.id}
        row={(one, act) => [<Text of={one.client_name || one.client} />, <Text of={one.person} />, <Names of={one.scopes} />, left(one.expires_at),
          <Sure label={<>Revoke <Text of={one.client_name || one.client} /></>} title="Take this consent away?" yes="Revoke" danger go={() => act("access.consents.revoke", { id: one.id })}>
            <p><strong><Text of={one.client_name || one.client} /></strong> acts for <Text of={one.person} /> no more: its tokens are refused from then on. It may ask again.</p></Sure>]} />
      <Part<Grant> title="Grants" ask="grants.list" of="grants" heads={["Grant", "Ends", ""]} name={(one) => one.id} look="given" shows={(one) => !one.id.startsWith("role:")}
        rest={(some) => <p className="meta">{some.length} more come with the roles: <Link to="/policy">all of policy</Link> has them.</p>} more={<Link to="/policy/give">Give a right…</Link>}
        row={(one) => {
          const until = isObject(one.grant.when) ? one.grant.when.until : undefined;
          const said = { ...one, words: wordsOf(one.grant) };
          return [<Sentence of={said} />, typeof until === "number" ? left(until) : <span className="meta">not by itself</span>, <Revoke of={said} />];
        }} />
    </div>
  );
}

const EMPTY: Record<string, string> = {
  Agents: "No agent yet: who makes a key for one (access.keys.create) makes the agent.", Consents: "No application acts for anybody.",
  Connections: "No remote thing has a name yet.", "Your sessions": "None in a browser.",
};

type Act = (operation: string, input: object) => Promise<unknown>;

interface Listing<T> {
  title: string;
  ask: string;
  of: string;
  heads: string[];
  name: (one: T) => string;
  row: (one: T, act: Act) => ReactNode[];
  more?: ReactNode;
  look?: string;
  /** which of them have a row; what has none is told by `rest` */
  shows?: (one: T) => boolean;
  rest?: (some: T[]) => ReactNode;
}

/** A role, and what it may do. */
const Granted = ({ to }: { to: string }) => <Link className="chip" to="/policy" search={{ subject: `role:${to}` }}><Text of={to} /></Link>;

function Part<T>({ title, ask: operation, of, heads, name, row, more, look = "", shows = () => true, rest }: Listing<T>) {
  const client = useQueryClient();
  const found = useQuery({ queryKey: ["access", operation], queryFn: ({ signal }) => ask<Record<string, T[]>>(operation, {}, signal) });
  const act = useMutation({ mutationFn: (asked: { operation: string; input: object }) => call(asked.operation, asked.input), onSettled: () => client.invalidateQueries({ queryKey: ["access"] }) });
  const every = found.data?.[of] ?? [], all = every.filter(shows), others = every.filter((one) => !shows(one));
  return (
    <section className="part" aria-label={title}>
      <header><h2>{title}</h2>{all.length > 0 && <span className="meta">{all.length}</span>}<span className="spring" />{more}</header>
      {found.isError && <Failure of={found.error} retry={() => void found.refetch()} />}
      {act.isError && <Failure of={act.error} />}
      {found.isPending && <Slow />}
      {found.isSuccess && !every.length && <p className="meta">{EMPTY[title] ?? "None."}</p>}
      {all.length > 0 && (
        <Table look={`of-${heads.length} ${look}`} heads={heads} rows={all.map((one) => ({ key: name(one), cells: row(one, (operation_, input) => act.mutateAsync({ operation: operation_, input })) }))} />
      )}
      {others.length > 0 && rest?.(others)}
    </section>
  );
}

/** Remote things by name; whoever uses one never sees its secret, and neither does this page. */
function Connections() {
  const [tried, tell] = useState<{ name: string; said: string; fault: unknown } | null>(null);
  const [making, make] = useState(false);
  const test = async (name: string) => {
    tell({ name, said: "", fault: null });
    try {
      tell({ name, said: (await ask<{ said: string }>("connections.test", { name })).said, fault: null });
    } catch (fault) {
      tell({ name, said: "", fault });
    }
  };
  return (
    <>
      <Part<Connection> title="Connections" ask="connections.list" of="connections" heads={["Name", "Kind", "Leads to", "Secret", ""]} name={(one) => one.name}
        more={<button type="button" aria-expanded={making} onClick={() => make(!making)}>New connection…</button>}
        row={(one, act) => [<strong><Text of={one.name} /></strong>, <span className="chip"><Text of={one.type} /></span>, <Text of={one.endpoint} />, one.secret ? <code><Text of={one.secret} /></code> : <span className="meta">none</span>,
          <span className="buttons"><button type="button" onClick={() => void test(one.name)}>Try <Text of={one.name} /></button>
            <Sure label={<>Delete <Text of={one.name} /></>} title={<>Delete the connection <Text of={one.name} />?</>} yes="Delete" danger go={() => act("connections.delete", { name: one.name })}><p>Its secret stays. It can be put back for a week.</p></Sure></span>]} />
      {tried && (tried.fault ? <Failure of={tried.fault} /> : <p role="status" className={tried.said ? "good" : "meta"}>{tried.said ? <>✓ <Text of={tried.name} />: <Text of={tried.said} /></> : "Trying…"}</p>)}
      {making && <NewConnection done={() => make(false)} />}
    </>
  );
}

function NewConnection({ done }: { done: () => void }) {
  const client = useQueryClient();
  const [input, give] = useState<{ [name: string]: Json }>({});
  const described = useQuery({ queryKey: ["operation", "connections.create"], queryFn: ({ signal }) => ask<Described>("catalogue.describe", { name: "connections.create" }, signal), staleTime: 300_000 });
  const made = useMutation({ mutationFn: () => call("connections.create", input), onSuccess: done, onSettled: () => client.invalidateQueries({ queryKey: ["access"] }) });
  if (described.isError) return <Failure of={described.error} />;
  if (!described.data) return null;
  return (
    <form className="card stack" aria-label="A new connection" onSubmit={(event) => { event.preventDefault(); made.mutate(); }}>
      <Form of={described.data.input_schema} value={input} set={give} />
      {made.isError && <Failure of={made.error} />}
      <div className="buttons"><button type="submit" className="primary" disabled={made.isPending}>Make it</button><button type="button" onClick={done}>Cancel</button></div>
    </form>
  );
}

interface Stop { scope: string; reason: string; by: string; at: number }

/** The kill switch, and what undoes it. */
function StopAll() {
  const client = useQueryClient();
  const stops = useQuery({ queryKey: ["access", "access.stops.list"], queryFn: ({ signal }) => ask<{ stops: Stop[] }>("access.stops.list", {}, signal) });
  const settle = { onSettled: () => client.invalidateQueries({ queryKey: ["access"] }) };
  const stop = useMutation({ mutationFn: (reason: string) => call("access.stop_all", { reason }), ...settle });
  const release = useMutation({ mutationFn: (scope: string) => call("access.release", { scope }), ...settle });
  const running = stops.data?.stops ?? [];
  return (
    <section className="part switch" aria-label="Stop all agents">
      {running.map((one) => (
        <div key={one.scope} className="failure" role="status">
          <p><strong>{one.scope === "everything" ? "All agents are stopped" : <>Stopped: <Text of={one.scope} /></>}</strong>, by <Text of={one.by} /> <Ago at={one.at} />: <Text of={one.reason || "no reason given"} /></p>
          <p><button type="button" disabled={release.isPending} onClick={() => release.mutate(one.scope)}>Release</button></p>
        </div>
      ))}
      {!running.some((one) => one.scope === "everything") && (
        <p className="tools"><Sure label="Stop all agents" title="Stop every agent now?" yes="Stop all" danger why="they and their people read this" go={(reason) => stop.mutateAsync(reason)}>
          <p>Within a second no call of theirs is taken any more, and what runs is ended. You release it here.</p>
        </Sure><span className="meta">Within a second nothing that acts without a person goes on.</span></p>
      )}
      {stops.isError && <Failure of={stops.error} />}
      {release.isError && <Failure of={release.error} />}
    </section>
  );
}
