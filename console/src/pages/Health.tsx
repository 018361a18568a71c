import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo, useRef } from "react";
import { ask, figures } from "../api";
import { below, together, type Figures, type Timed } from "../metrics";
import { Bars, type Bar } from "../parts/Bars";
import { Failure } from "../parts/Failure";
import { Slow } from "../parts/Slow";
import { Table } from "../parts/Table";
import { Text } from "../parts/Text";
import { clock } from "../parts/words";
import { search, type AuditRecord } from "../records";
import type { Waiting } from "./Approvals";

const MINUTES = 60, LOOK_MS = 15_000, PAGES = 5, PAGE = 1000;
const KINDS = [{ name: "done", look: "is-ok" }, { name: "waited", look: "is-warn" }, { name: "refused", look: "is-bad2" }, { name: "failed", look: "is-bad" }];

const FAILED = new Set(["failed", "unknown", "interrupted"]);

/** Count the ends of calls by minute, of the last hour; a record may stand for many like refusals. */
export function byMinute(records: AuditRecord[], now: number): Bar[] {
  const bars = Array.from({ length: MINUTES }, (_, at): Bar => ({ name: clock(now - (MINUTES - 1 - at) * 60), parts: [0, 0, 0, 0] }));
  for (const one of records) {
    const at = MINUTES - 1 - Math.floor((now - one.at) / 60);
    const kind = one.state === "done" || one.state === "previewed" ? 0 : one.state === "waiting" ? 1 : one.kind === "refused" ? 2 : FAILED.has(one.state) ? 3 : -1;
    const parts = bars[at]?.parts;
    if (parts && kind >= 0) parts[kind] = (parts[kind] ?? 0) + one.count;
  }
  return bars;
}

/** What ended within the last hour, and whether that is all. */
async function lastHour(signal: AbortSignal): Promise<{ records: AuditRecord[]; whole: boolean; now: number }> {
  const now = Date.now() / 1000, records: AuditRecord[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < PAGES; page++) {
    const some = await search({ since: now - MINUTES * 60, limit: PAGE, ...(cursor ? { cursor } : {}) }, signal);
    records.push(...some.records);
    cursor = some.cursor;
    if (!cursor) return { records, whole: true, now };
  }
  return { records, whole: false, now };
}

interface Capability { name: string; available: boolean; detail: string; cure: string }

/** How the server does: what it counts itself, what the audit says of the last hour, and what works on this machine. */
export function Health() {
  const workers = useRef(new Map<string, Figures>());
  const counted = useQuery({
    queryKey: ["metrics"], refetchInterval: LOOK_MS,
    queryFn: async ({ signal }) => {
      const one = await figures(signal);
      workers.current.set(one.worker, one); // each answer is of one worker: of the others the last one counts
      return [...workers.current.values()];
    },
  });
  const hour = useQuery({ queryKey: ["hour"], queryFn: ({ signal }) => lastHour(signal), refetchInterval: 30_000 });
  const waiting = useQuery({ queryKey: ["approvals"], queryFn: ({ signal }) => ask<Waiting>("approvals.list", {}, signal) });
  const stops = useQuery({ queryKey: ["access", "access.stops.list"], queryFn: ({ signal }) => ask<{ stops: { scope: string }[] }>("access.stops.list", {}, signal) });
  const able = useQuery({ queryKey: ["capabilities"], staleTime: 60_000, queryFn: ({ signal }) => ask<{ capabilities: Capability[] }>("catalogue.capabilities", {}, signal) });
  const timed = useMemo(() => together(counted.data ?? []), [counted.data]);
  const bars = useMemo(() => (hour.data ? byMinute(hour.data.records, hour.data.now) : []), [hour.data]);
  const gauges = counted.data?.at(-1)?.gauges ?? {};
  const ended = bars.reduce((sum, one) => sum + one.parts.reduce((some, part) => some + part, 0), 0);
  const bad = bars.reduce((sum, one) => sum + (one.parts[3] ?? 0), 0);
  const missing = able.data?.capabilities.filter((one) => !one.available) ?? [];
  return (
    <div className="stack">
      <dl className="tiles" aria-label="At a glance">
        <Tile name="Audit" value={gauges.audit_healthy === undefined ? "not told" : gauges.audit_healthy ? "✓ writes" : "✕ does not write"} look={gauges.audit_healthy === undefined ? "" : gauges.audit_healthy ? "ok" : "bad"} note={gauges.audit_healthy === 0 ? "no call is taken" : ""} />
        <Tile name="Calls, last hour" value={hour.data ? `${ended}${hour.data.whole ? "" : "+"}` : "…"} note={bad ? `${bad} failed` : hour.data ? "none failed" : ""} look={bad ? "bad" : ""} />
        <Tile name="Wait for a person" value={waiting.data ? String(waiting.data.waiting.length) : "…"} look={waiting.data?.waiting.length ? "warn" : ""} to="/approvals" />
        <Tile name="Stopped" value={stops.data ? (stops.data.stops.length ? stops.data.stops.map((one) => one.scope).join(", ") : "nothing") : "…"} look={stops.data?.stops.length ? "bad" : ""} to="/access" />
        <Tile name="Operations" value={gauges.operations === undefined ? "not told" : String(gauges.operations)} note="installed" />
        <Tile name="This machine" value={able.data ? `${able.data.capabilities.length - missing.length} of ${able.data.capabilities.length}` : "…"} look={missing.length ? "warn" : ""} note="abilities work" />
      </dl>
      {hour.isPending && <Slow />}
      {hour.isError && <Failure of={hour.error} retry={() => void hour.refetch()} />}
      {hour.data && <Bars label="Calls that ended, by minute" kinds={KINDS} bars={bars} ends={[bars[0]?.name ?? "", bars.at(-1)?.name ?? ""]} />}
      {hour.data && !hour.data.whole && <p className="meta">There were more than {PAGES * PAGE} records: the oldest minutes are not whole.</p>}
      {counted.isError && <Failure of={counted.error} retry={() => void counted.refetch()} />}
      <Times of={timed} told={counted.isSuccess} />
      {able.isError && <Failure of={able.error} retry={() => void able.refetch()} />}
      {able.data && (
        <section aria-label="What works on this machine" className="part">
          <h2>What works on this machine</h2>
          <Table heads={["Ability", "Works", "What was seen"]} rows={[...missing, ...able.data.capabilities.filter((one) => one.available)].map((one) => ({
            key: one.name, cells: [
              <strong><Text of={one.name} /></strong>, <span className={`chip ${one.available ? "ok" : "warn"}`}>{one.available ? "✓ yes" : "✕ no"}</span>,
              <><Text of={one.detail} />{!one.available && one.cure && <p className="meta"><Text of={one.cure} /></p>}</>,
            ],
          }))} />
        </section>
      )}
    </div>
  );
}

function Tile({ name, value, note, look, to }: { name: string; value: string; note?: string; look?: string; to?: "/approvals" | "/access" }) {
  return <div><dt>{to ? <Link to={to}>{name}</Link> : name}</dt><dd className={look ?? ""}><strong>{value}</strong>{note && <span className="meta">{note}</span>}</dd></div>;
}

const BOUND = (seconds: number): string => (seconds === Infinity ? "over 60 s" : seconds < 1 ? `≤ ${seconds * 1000} ms` : `≤ ${seconds} s`);

/** How long calls took since the server started: the busiest first. */
function Times({ of, told }: { of: Timed[]; told: boolean }) {
  const done = of.filter((one) => one.status === "done").sort((one, other) => other.count - one.count);
  const failed = (operation: string) => of.filter((one) => one.operation === operation && one.status === "failed").reduce((sum, one) => sum + one.count, 0);
  if (!told) return null;
  if (!done.length) return <p className="meta">What the server counts is shown to those who may search the audit, once calls have ended.</p>;
  const most = Math.max(...done.map((one) => one.count));
  return (
    <section aria-label="How long calls take" className="part">
      <h2>How long calls take</h2>
      <p className="meta">Counted by the server since its start. Half, and 19 of 20, ended within the bound.</p>
      <Table look="times" heads={["Operation", "Calls", "On average", "Half", "19 of 20", "Failed"]} rows={done.slice(0, 15).map((one) => ({
        key: one.operation, cells: [
          <Link to="/operations/$name" params={{ name: one.operation }}><code>{one.operation}</code></Link>,
          <span className="amount"><meter min={0} max={most} value={one.count} aria-label={`calls of ${one.operation}`} />{one.count}</span>,
          one.count ? `${(one.seconds / one.count * 1000).toFixed(1)} ms` : "", BOUND(below(one, 0.5)), BOUND(below(one, 0.95)), failed(one.operation) || "",
        ],
      }))} />
    </section>
  );
}
