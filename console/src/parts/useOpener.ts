import { useRef } from "react";

/** For a dialog that a key or a state opens: its `onCloseAutoFocus`, which gives the focus back to where it was before. */
export function useOpener(open: boolean): (event: Event) => void {
  const opener = useRef<Element | null>(null), was = useRef(false);
  // while drawing: once the dialog stands there it has the focus itself
  if (open && !was.current) opener.current = document.activeElement;
  was.current = open;
  return (event) => {
    if (!(opener.current instanceof HTMLElement) || !opener.current.isConnected) return;
    event.preventDefault();
    opener.current.focus();
  };
}
