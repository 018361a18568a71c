import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { Dialog } from "radix-ui";
import { useDeferredValue, useState } from "react";
import { ask } from "../api";
import { LINKS } from "../Shell";
import { Failure } from "./Failure";
import { Text } from "./Text";
import { useOpener } from "./useOpener";

export interface Found {
  operations: { name: string; summary: string; effect: string; risk: string; undo: string }[];
  total: number;
  cursor: string | null;
}

/** Go to a page or an operation by name. */
export function Palette({ open, close }: { open: boolean; close: () => void }) {
  const navigate = useNavigate(), back = useOpener(open);
  const [typed, type] = useState("");
  const [at, move] = useState(0);
  const wanted = useDeferredValue(typed.trim());
  const found = useQuery({
    queryKey: ["palette", wanted], enabled: open && wanted.length > 1,
    queryFn: ({ signal }) => ask<Found>("catalogue.search", { query: wanted, limit: 8 }, signal),
  });
  const pages = LINKS.filter((one) => one.name.toLowerCase().includes(wanted.toLowerCase())).map((one) => ({
    id: one.to, name: one.name, what: "page", go: () => navigate({ to: one.to }),
  }));
  const operations = (wanted.length > 1 ? found.data?.operations ?? [] : []).map((one) => ({
    id: one.name, name: one.name, what: one.summary, go: () => navigate({ to: "/operations/$name", params: { name: one.name } }),
  }));
  const all = [...pages, ...operations];
  const here = Math.min(at, Math.max(0, all.length - 1));
  const go = (index: number) => { void all[index]?.go(); close(); type(""); };
  return (
    <Dialog.Root open={open} onOpenChange={(on) => { if (!on) close(); }}>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content className="dialog palette" aria-describedby={undefined} onCloseAutoFocus={back}>
          <Dialog.Title className="unseen">Search or jump to</Dialog.Title>
          <input
            role="combobox" aria-expanded="true" aria-controls="found" aria-label="Search pages and operations"
            aria-activedescendant={all[here] ? `found-${here}` : undefined} placeholder="A page or an operation" autoFocus value={typed}
            onChange={(event) => { type(event.target.value); move(0); }}
            onKeyDown={(event) => {
              if (event.key === "ArrowDown") move(Math.min(here + 1, all.length - 1));
              else if (event.key === "ArrowUp") move(Math.max(here - 1, 0));
              else if (event.key === "Enter") go(here);
              else return;
              event.preventDefault();
            }}
          />
          <ul id="found" role="listbox" aria-label="Found">
            {all.map((one, index) => (
              <li key={one.id} id={`found-${index}`} role="option" aria-selected={index === here} onClick={() => go(index)}>
                <strong><Text of={one.name} /></strong> <span className="meta"><Text of={one.what} /></span>
              </li>
            ))}
          </ul>
          {found.isError ? <Failure of={found.error} retry={() => void found.refetch()} /> : !all.length && !found.isFetching && <p className="empty">Nothing by that name that you may use. Try other words: what it does, or what it works on.</p>}
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

const KEYS = [
  ["Ctrl K", "go to a page or an operation"], ["g then a, p, o, l, h, u", "activity, approvals, operations, plugins, health, audit"], ["g then c, y, s", "access, policy, settings"],
  ["j, k", "next and previous in a list"], ["Enter", "open"], ["A, D, Q", "approve or deny the request that is open, or send it back with a question"],
  ["P", "pause the activity"], ["?", "this list"],
] as const;

/** The keyboard map. */
export function Shortcuts({ open, close }: { open: boolean; close: () => void }) {
  const back = useOpener(open);
  return (
    <Dialog.Root open={open} onOpenChange={(on) => { if (!on) close(); }}>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content className="dialog" aria-describedby={undefined} onCloseAutoFocus={back}>
          <Dialog.Title>Keyboard</Dialog.Title>
          <dl className="pairs">{KEYS.map(([key, what]) => <div key={key}><dt><kbd>{key}</kbd></dt><dd>{what}</dd></div>)}</dl>
          <Dialog.Close asChild><button type="button">Close</button></Dialog.Close>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
