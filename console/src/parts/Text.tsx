import { pieces } from "./visible";

/** Text of others: never markup, and nothing in it hides. */
export function Text({ of }: { of: string }) {
  return (
    <bdi>
      {pieces(of).map((one, at) => (one.hidden ? <span key={at} className="hidden-char" title="a character that is not seen">{one.text}</span> : one.text))}
    </bdi>
  );
}
