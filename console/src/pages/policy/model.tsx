import { useQueryClient } from "@tanstack/react-query";
import { Sure } from "../../parts/Sure";
import { Tabs } from "../../parts/Tabs";
import { Text } from "../../parts/Text";
import { Verdict } from "../../parts/Verdict";
import { call, isObject, type Json } from "../../api";

export interface Said {
  id: string;
  words: string;
  grant: { [name: string]: Json };
}

export interface Version {
  number: number;
  author: string;
  at: number;
  reason: string;
  digest: string;
}

const PAGES = [
  { to: "/policy", name: "In force" }, { to: "/policy/give", name: "Give a right" }, { to: "/policy/explain", name: "Explain a call" }, { to: "/policy/simulate", name: "Try a change" },
  { to: "/policy/proposals", name: "Proposals" }, { to: "/policy/versions", name: "Versions" },
];

export const PolicyTabs = () => <Tabs label="Policy" links={PAGES} />;

/** A grant as a sentence, with its effect and whom it speaks of in front. */
export function Sentence({ of }: { of: Said }) {
  const effect = typeof of.grant.effect === "string" ? of.grant.effect : "";
  const subject = typeof of.grant.subject === "string" ? of.grant.subject : "";
  return <span className="sentence"><Verdict of={effect} /> <strong><Text of={subject === "*" ? "everybody" : subject} /></strong> <Text of={rest(of.words, subject)} /></span>;
}

/** A grant as words, where the server gives none: what, on what, and until when. */
export function wordsOf(grant: { [name: string]: Json }): string {
  const texts = (one: Json | undefined): string[] => (Array.isArray(one) ? one.filter((text): text is string => typeof text === "string") : []);
  const where = isObject(grant.where) ? Object.values(grant.where).flatMap(texts) : [];
  return `${texts(grant.operations).join(", ")}${where.length ? ` on ${where.join(", ")}` : ""}`;
}

/** Ends a grant, after asking. */
export function Revoke({ of }: { of: Said }) {
  const client = useQueryClient();
  const gone = () => Promise.all(["policy", "access"].map((one) => client.invalidateQueries({ queryKey: [one] })));
  return (
    <Sure label={<>Revoke <Text of={of.id} /></>} title="Take this grant away?" yes="Revoke" danger go={async () => { await call("grants.revoke", { id: of.id }); await gone(); }}>
      <p><Sentence of={of} /></p>
      <p className="meta">It ends within a second. Undo brings it back.</p>
    </Sure>
  );
}

/** The sentence without its verb and its end, which stand in front already. */
function rest(words: string, subject: string): string {
  const end = `, to ${subject}`;
  return (words.endsWith(end) ? words.slice(0, -end.length) : words).replace(/^(?:allows|asks a person before it allows|denies) /, "");
}

/** Grants that somebody wrote as JSON: one, or a list. Throws `Error` with what is wrong. */
export function grantsOf(text: string): { [name: string]: Json }[] {
  if (!text.trim()) return [];
  const read = JSON.parse(text) as Json;
  const all = Array.isArray(read) ? read : [read];
  const good = all.filter(isObject);
  if (good.length < all.length) throw new Error("a grant is a JSON object");
  return good;
}
