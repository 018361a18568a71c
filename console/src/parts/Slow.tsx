/** What stands where something is not there yet: nothing at first, a word when it takes long. */
export function Slow() {
  return <p className="slow" role="status" data-loading="">Loading…</p>;
}
