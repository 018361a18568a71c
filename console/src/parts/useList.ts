import { useEffect, useState } from "react";
import { typing } from "../Shell";

/** j and k move through a list; gives the place and what sets it. `open` is told of each move; `here` is where it stands already. */
export function useList(length: number, open?: (at: number) => void, here?: number): [number, (at: number) => void] {
  const [last, set] = useState(-1);
  const at = here ?? last;
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
      const step = event.key === "j" ? 1 : event.key === "k" ? -1 : 0;
      if (step && length) {
        const next = Math.max(0, Math.min(length - 1, at + step));
        set(next);
        open?.(next);
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [at, length, open]);
  return [at, set];
}
