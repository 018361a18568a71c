// Audit records as the pages use them: what a record leaves out is filled in here, and nowhere else.

import { ask } from "./api";

export interface AuditRecord {
  kind: string;
  at: number;
  invocation: string;
  /** who acted, and for whom */
  who: string;
  by: string;
  /** whether it was done for somebody else, as agents do */
  agent: boolean;
  operation: string;
  resources: [string, string][];
  decision: string;
  grants: string[];
  /** how what it ran was contained: the level, then the back end; empty where it ran nothing */
  isolation: string;
  /** what came of it: `done`, `waiting`, `refused`… */
  state: string;
  channel: string;
  session: string;
  /** why it was refused or failed: the kind of problem, and in words where the record has them */
  problem: string;
  why: string;
  /** of a decision about a call that waited: `approve` or `deny` */
  decided: string;
  hash: string;
  chain: string;
  seq: number;
  /** how many like refusals it stands for */
  count: number;
}

const weight = (effect: string): number => ["DESTROY", "CHANGE", "READ"].indexOf(effect);

/** Read one record as the audit gives it (docs: audit format). */
export function recordOf(raw: unknown): AuditRecord {
  const said = (typeof raw === "object" && raw !== null ? raw : {}) as Record<string, unknown>;
  const text = (name: string): string => (typeof said[name] === "string" ? said[name] : "");
  const detail = (typeof said.detail === "object" && said.detail !== null ? said.detail : {}) as Record<string, unknown>;
  const within = (name: string): string => (typeof detail[name] === "string" ? detail[name] : "");
  const number = (name: string): number => (typeof said[name] === "number" ? said[name] : 0);
  const chain = Array.isArray(said.chain_of) ? said.chain_of.map(String) : [];
  const resources = Array.isArray(said.resources) ? said.resources.filter((one): one is [string, string] => Array.isArray(one) && one.length === 2) : [];
  resources.sort((one, other) => weight(one[1]) - weight(other[1])); // what is changed tells more than what was looked at for it
  const kind = text("kind");
  return {
    kind, at: number("at"), invocation: text("invocation"), who: text("who"), by: chain.join(" for ") || text("who") || "the platform", agent: chain.length > 1,
    operation: text("operation") || text("event") || kind, resources, decision: text("decision"),
    grants: Array.isArray(said.grants) ? said.grants.map(String) : [], isolation: text("isolation").replace(/ (.+)/, " ($1)"),
    state: text("status") || kind, channel: text("channel"), session: text("session"), problem: text("problem"), why: within("why"), decided: within("decision"), hash: text("hash"), chain: text("chain"), seq: number("seq"), count: number("count") || 1,
  };
}

const READS = /\.(read|list|show|stat|status|query|search|describe|whoami|exists|find|glob|grep|hash|diff|tree|info|logs|plan|schema|follow|capabilities|explain|verify)$/;

/** Tell by the name of the operation whether it only looks. */
export const looks = (one: AuditRecord): boolean => READS.test(one.operation);

/** Put two lists, each newest first, into one; what is in both stands there once. */
export function merged(some: AuditRecord[], others: AuditRecord[]): AuditRecord[] {
  if (!some.length) return others;
  const known = new Set(some.map((one) => one.hash));
  const rest = others.filter((one) => !known.has(one.hash));
  const all = [...some, ...rest];
  const oldest = some.at(-1), newest = rest[0];
  return oldest && newest && oldest.at < newest.at ? all.sort((one, other) => other.at - one.at) : all;
}

export interface Page {
  records: AuditRecord[];
  cursor: string | null;
}

/** Search the audit. */
export async function search(filters: object, signal?: AbortSignal): Promise<Page> {
  const found = await ask<{ records: unknown[]; cursor: string | null }>("audit.query", filters, signal);
  return { records: found.records.map(recordOf), cursor: found.cursor };
}
