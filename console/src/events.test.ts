import { expect, test } from "vitest";
import { cutter } from "./events";

test("events are cut wherever the network cuts the text", () => {
  const whole = ': stream\n\nid: 7\nevent: outcome\ndata: {"a":1}\n\n: still here\n\nid: 8\nevent: outcome\ndata: {"a":2}\n\n';
  for (let at = 0; at <= whole.length; at++) {
    const cut = cutter();
    expect([...cut(whole.slice(0, at)), ...cut(whole.slice(at))]).toEqual([{ id: "7", record: { a: 1 } }, { id: "8", record: { a: 2 } }]);
  }
});

test("what is not finished, or has no id, is no event", () => {
  expect(cutter()('event: outcome\ndata: {"a":1}\n\nid: 9\ndata: {"a":2}\n')).toEqual([]);
});
