import { Dialog } from "radix-ui";
import { useState, type ReactNode } from "react";
import { Failure } from "./Failure";

interface Asked {
  /** what stands on the button, and says what it does and to what */
  label: ReactNode;
  title: ReactNode;
  children?: ReactNode;
  /** the word on the button that does it */
  yes: string;
  danger?: boolean;
  /** it is what the page is for */
  first?: boolean;
  /** a field for the reason */
  why?: string;
  disabled?: boolean;
  go: (reason: string) => Promise<unknown>;
}

/** A button that asks before it acts. The first focus is on the one that does nothing. */
export function Sure({ label, title, children, yes, danger, first, why, disabled, go }: Asked) {
  const [open, show] = useState(false), [busy, work] = useState(false), [fault, fail] = useState<unknown>(null), [reason, say] = useState("");
  const done = async () => {
    work(true);
    fail(null);
    try {
      await go(reason);
      show(false);
    } catch (bug) {
      fail(bug);
    } finally {
      work(false);
    }
  };
  return (
    <Dialog.Root open={open} onOpenChange={(on) => { show(on); fail(null); }}>
      <Dialog.Trigger asChild><button type="button" className={danger ? "danger" : first ? "primary" : ""} disabled={disabled}>{label}</button></Dialog.Trigger>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content className="dialog" aria-describedby={undefined}>
          <Dialog.Title>{title}</Dialog.Title>
          <form onSubmit={(event) => { event.preventDefault(); void done(); }}>
            {children}
            {why !== undefined && <label className="wide-label">Reason <input value={reason} maxLength={500} placeholder={why} onChange={(event) => say(event.target.value)} /></label>}
            {fault !== null && <Failure of={fault} />}
            <div className="buttons">
              <Dialog.Close asChild><button type="button" autoFocus>Cancel</button></Dialog.Close>
              <button type="submit" className={danger ? "danger" : "primary"} disabled={busy}>{yes}</button>
            </div>
          </form>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
