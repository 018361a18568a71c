// Calls: everything that the console does is an operation, made in the browser's session.

import { figuresOf, type Figures } from "./metrics";
import { noticed } from "./rights";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export interface Decision {
  verdict: string;
  reason: string;
  grants: string[];
  policy_version: number;
  require?: { approvals: number; by: string[] };
}

export interface EffectNote {
  resource: string;
  effect: string;
  before?: string;
  after?: string;
}

export interface Outcome<T = Json> {
  invocation: string;
  operation: string;
  status: string;
  output: T;
  effects: EffectNote[];
  decision?: Decision;
  undo?: { possible: boolean; until?: number };
  isolation?: { level: string; backend: string; limits: Record<string, string>; network: string };
  seconds: number;
}

/** What the server refused, or could not do (RFC 9457). */
export class Problem extends Error {
  readonly status: number;
  readonly slug: string;
  readonly hint: string;
  readonly changed: string;
  readonly invocation: string;

  constructor(status: number, said: Partial<Record<"type" | "title" | "detail" | "hint" | "changed" | "invocation", string>>) {
    super(said.detail || said.title || `the server answered ${status}`);
    this.status = status;
    this.slug = (said.type ?? "").replace("/problems/", "");
    this.hint = said.hint ?? "";
    this.changed = said.changed ?? "unknown";
    this.invocation = said.invocation ?? "";
  }
}

export interface Session {
  person: string;
  csrf: string;
  mfa_at: number;
  roles: string[];
  groups: string[];
}

const PATIENCE_MS = 60_000;
let csrf = "";

/** Who is signed in; null for nobody. */
export async function session(): Promise<Session | null> {
  const response = await fetch("/sign-in/session", { headers: { accept: "application/json" }, signal: AbortSignal.timeout(PATIENCE_MS) });
  if (response.status === 401) return null;
  if (!response.ok) throw await problem(response);
  const found = (await response.json()) as Session;
  csrf = found.csrf;
  noticed("person", [found.person, found.roles, found.groups]);
  return found;
}

async function problem(response: Response): Promise<Problem> {
  try {
    return new Problem(response.status, (await response.json()) as Record<string, string>);
  } catch {
    return new Problem(response.status, {});
  }
}

export interface Asking {
  dryRun?: boolean;
  reason?: string;
  signal?: AbortSignal;
}

/** Make a call. Throws a `Problem`; one that waits for approval is an outcome whose status is `waiting`. */
export async function call<T = Json>(operation: string, input: object = {}, asking: Asking = {}): Promise<Outcome<T>> {
  const query = asking.dryRun ? "?dry_run=true" : "";
  const headers: Record<string, string> = { "content-type": "application/json", "x-csrf-token": csrf };
  if (asking.reason) headers["superagent-reason"] = asking.reason;
  const timeout = AbortSignal.timeout(PATIENCE_MS);
  const response = await fetch(`/v1/operations/${operation}${query}`, {
    method: "POST", headers, body: JSON.stringify(input), credentials: "same-origin",
    signal: asking.signal ? AbortSignal.any([asking.signal, timeout]) : timeout,
  });
  if (!response.ok) throw await problem(response);
  const outcome = (await response.json()) as Outcome<T>;
  if (operation === "approvals.list" && outcome.decision) noticed("policy", [outcome.decision.policy_version, outcome.decision.grants]); // every page asks for it all the time
  return outcome;
}

/** Make a call and give its output alone. */
export async function ask<T>(operation: string, input: object = {}, signal?: AbortSignal): Promise<T> {
  return (await call<T>(operation, input, signal ? { signal } : {})).output;
}

export const isObject = (one: Json | undefined): one is { [name: string]: Json } => typeof one === "object" && one !== null && !Array.isArray(one);

/** What the server counts itself, of the worker that answers. */
export async function figures(signal: AbortSignal): Promise<Figures> {
  const response = await fetch("/metrics", { credentials: "same-origin", cache: "no-store", signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]) });
  if (!response.ok) throw await problem(response);
  return figuresOf(await response.text());
}

export interface Preview {
  summary: string;
  changes: string[];
  diff: string;
  exact: boolean;
  conflicts: string[];
  /** of a command that was rehearsed: what brings that very diff in, and what it wrote */
  view?: string | null;
  digest?: string | null;
  stdout?: string;
  stderr?: string;
}

/** What a dry run says that the call would do; null for a call that was made. */
export const previewOf = (outcome: Outcome<unknown>): Preview | null => (outcome.status === "previewed" ? (outcome.output as Preview) : null);
