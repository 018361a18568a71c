import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import { ask, session } from "./api";
import { current, forget, start, subscribe, watch } from "./feed";
import type { Waiting } from "./pages/Approvals";
import { Failure } from "./parts/Failure";
import { Palette, Shortcuts } from "./parts/Palette";
import { Text } from "./parts/Text";
import { moment } from "./parts/words";
import { onRights } from "./rights";
import { theme, type Theme } from "./theme";

const PAGES = [
  { group: "Work", links: [{ to: "/activity", name: "Activity", key: "a" }, { to: "/approvals", name: "Approvals", key: "p" }] },
  { group: "Build", links: [{ to: "/operations", name: "Operations", key: "o" }, { to: "/plugins", name: "Plugins", key: "l" }] },
  { group: "Watch", links: [{ to: "/health", name: "Health", key: "h" }, { to: "/audit", name: "Audit", key: "u" }] },
  { group: "Admin", links: [{ to: "/access", name: "Access", key: "c" }, { to: "/policy", name: "Policy", key: "y" }, { to: "/settings", name: "Settings", key: "s" }] },
] as const;
export const LINKS = PAGES.flatMap((one) => [...one.links]);

const WITHIN = [{ from: "/invocations", name: "One call" }, { from: "/sessions", name: "One session" }, { from: "/stays", name: "One session" }];

const STATES = { live: "Live", connecting: "Connecting…", lost: "Reconnecting…", ended: "Not live" } as const;

/** The frame of every page: who is signed in, where one can go, and whether what one sees is live. */
export function Shell() {
  const me = useQuery({ queryKey: ["session"], queryFn: session, staleTime: 60_000 });
  const path = useRouterState({ select: (state) => state.location.pathname });
  if (me.isError) return <main className="alone"><Failure of={me.error} retry={() => void me.refetch()} /></main>;
  if (me.data === undefined) return null;
  if (me.data === null) {
    location.assign(`/sign-in?next=${encodeURIComponent(`/ui${path.replace(/^\/ui/, "")}`)}`);
    return null;
  }
  return <Frame person={me.data.person} />;
}

function Frame({ person }: { person: string }) {
  useEffect(() => start(person), [person]);
  const feed = useSyncExternalStore(subscribe, current);
  const [shown, show] = useState<"" | "palette" | "keys">("");
  const waiting = useQuery({ queryKey: ["approvals"], queryFn: ({ signal }) => ask<Waiting>("approvals.list", {}, signal), refetchInterval: 15_000, enabled: feed.state !== "ended" });
  useQuery({ queryKey: ["rights"], queryFn: session, refetchInterval: 10_000, refetchIntervalInBackground: true, enabled: feed.state !== "ended" }); // whoever loses a right goes on seeing nothing by it, in tabs that nobody looks at either
  useFresh();
  const client = useQueryClient();
  useEffect(() => onRights(() => { forget(); void client.invalidateQueries({ predicate: (one) => !["session", "rights", "approvals"].includes(String(one.queryKey[0])) }); }), [client]); // whatever may not be seen any more says so
  useEffect(() => { if (feed.state === "ended") client.removeQueries({ predicate: (one) => one.queryKey[0] !== "session" }); }, [client, feed.state]); // whoever may not see it any more does not go on seeing it
  const count = waiting.data?.waiting.length ?? 0;
  useKeys(show);
  const path = useRouterState({ select: (state) => state.location.pathname });
  const here = LINKS.find((one) => path.startsWith(one.to))?.name ?? WITHIN.find((one) => path.startsWith(one.from))?.name ?? "Super-Agent";
  const [menu, open] = useState(false), opener = useRef<HTMLButtonElement>(null);
  useEffect(() => open(false), [path]);
  useEffect(() => { document.title = `${here} · Super-Agent`; }, [here]);
  return (
    <div className="app">
      <a className="skip" href="#main">Skip to the page</a>
      <button ref={opener} type="button" className="menu" aria-expanded={menu} aria-controls="rail" onClick={() => open(!menu)}>
        <span aria-hidden="true">☰</span> Menu{count > 0 && <b>{count}<span className="unseen"> waiting</span></b>}
      </button>
      <nav id="rail" className={menu ? "rail open" : "rail"} aria-label="Main" onKeyDown={(event) => { if (menu && event.key === "Escape") { open(false); opener.current?.focus(); } }}>
        <div className="brand"><span aria-hidden="true">S</span>Super-Agent</div>
        {PAGES.map((group) => (
          <div key={group.group}>
            <h2>{group.group}</h2>
            {group.links.map((one) => (
              <Link key={one.to} to={one.to} activeProps={{ "aria-current": "page" }}>
                {one.name}
                {one.to === "/approvals" && count > 0 && <b>{count}<span className="unseen"> waiting</span></b>}
              </Link>
            ))}
          </div>
        ))}
        <div className="me"><strong><Text of={person} /></strong><a href="/sign-in/you">Account and sessions</a><ThemeChoice /></div>
      </nav>
      <div className="page">
        <header className="top">
          <h1>{here}</h1>
          <span className={`state ${feed.state}`} role="status">{STATES[feed.state]}</span>
          <span className="spring" />
          <button type="button" onClick={() => show("palette")}>Search<span className="wordy"> or jump to…</span> <kbd>Ctrl K</kbd></button>
          <button type="button" className="wordy" onClick={() => show("keys")} aria-label="Keyboard shortcuts"><kbd>?</kbd></button>
        </header>
        <main id="main" tabIndex={-1}>
          {feed.state === "lost" && <p className="warning banner">The server does not answer. What you see is of {moment(feed.heard / 1000)}; it goes on by itself.</p>}
          {feed.state === "ended"
            ? <p className="failure banner" role="alert">Your session has ended here, and what it showed is gone from this page. <a href={`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`}>Sign in again</a></p>
            : <Outlet />}
        </main>
      </div>
      <Palette open={shown === "palette"} close={() => show("")} />
      <Shortcuts open={shown === "keys"} close={() => show("")} />
    </div>
  );
}

/** What waits is asked for anew when the stream says that something began to wait or was decided. */
function useFresh(): void {
  const client = useQueryClient();
  useEffect(() => {
    let due = 0;
    const stop = watch((fresh) => {
      if (due || !fresh.some((one) => one.state === "waiting" || one.kind === "approved" || one.operation.startsWith("approvals."))) return;
      due = window.setTimeout(() => { due = 0; void client.invalidateQueries({ queryKey: ["approvals"] }); }, 300);
    });
    return () => { stop(); clearTimeout(due); };
  }, [client]);
}

function ThemeChoice() {
  const [chosen, choose] = useState<Theme>(theme.chosen());
  return (
    <label className="theme">
      <span className="meta">Theme</span>
      <select value={chosen} onChange={(event) => { const one = event.target.value as Theme; theme.choose(one); choose(one); }}>
        <option value="auto">automatic</option><option value="light">light</option><option value="dark">dark</option>
      </select>
    </label>
  );
}

/** Ctrl K, ?, and g with a letter; single keys only outside of fields (WCAG 2.1.4). */
function useKeys(show: (what: "palette" | "keys") => void): void {
  const navigate = useNavigate();
  useEffect(() => {
    let going = -Infinity;
    const pressed = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        show("palette");
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
      if (event.key === "?") show("keys");
      const link = event.timeStamp - going < 1000 ? LINKS.find((one) => one.key === event.key) : undefined;
      going = event.key === "g" ? event.timeStamp : -Infinity;
      if (link) void navigate({ to: link.to });
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [navigate, show]);
}

/** Tell whether a key that was pressed there is text. */
export function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.closest("[role=dialog]") !== null);
}
