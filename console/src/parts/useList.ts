import { useEffect, useState } from "react";
import { typing } from "../Shell";

/** j, k and the arrows move through a list; gives the place and what sets it. */
export function useList(length: number, open?: (at: number) => void): [number, (at: number) => void] {
  const [at, set] = useState(-1);
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
