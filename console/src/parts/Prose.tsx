import { Text } from "./Text";

/** Text of others in which names stand between backticks, as the server writes it. */
export function Prose({ of }: { of: string }) {
  const parts = of.split("`");
  if (parts.length % 2 === 0) return <Text of={of} />; // a backtick that belongs to nothing
  return <>{parts.map((one, at) => (at % 2 ? <code key={at}><Text of={one} /></code> : one && <Text key={at} of={one} />))}</>;
}
