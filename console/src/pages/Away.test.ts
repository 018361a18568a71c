import { expect, test, vi } from "vitest";
import { recordOf } from "../records";

vi.stubGlobal("localStorage", { getItem: () => null, setItem: () => undefined });
vi.stubGlobal("addEventListener", () => undefined);
const { stays, undoOf } = await import("./Away");

const did = (at: number, more: object = {}) => recordOf({ kind: "outcome", status: "done", at, who: "builder", chain_of: ["builder", "owner"], hash: `${at}`, ...more });
const left = (at: number, more: object = {}) => ({ invocation: `i${at}`, operation: "files.write", principal: "builder", session: "", resource: "r", at, state: "undoable", ...more });

test("without a name a session is what was done without a long break", () => {
  const found = stays([did(5000), did(100), did(900), did(100, { session: "night", hash: "n" }), did(9000, { session: "night", hash: "m", status: "waiting" })], [left(101), left(5001)], "owner");
  expect(found.map((one) => [one.session, one.calls, one.left.length, one.waiting])).toEqual([["night", 2, 0, 1], ["", 1, 1, 0], ["", 2, 1, 0]]);
});

test("what people do themselves is no session, and what was taken back is not left", () => {
  expect(stays([did(1, { who: "owner", chain_of: ["owner"] })], [left(2, { principal: "owner" }), left(3, { state: "undone" })], "owner")).toEqual([]);
});

test("undo means the name, or each call once", () => {
  expect(undoOf("night", [left(1)])).toEqual({ session: "night" });
  expect(undoOf("", [left(1), left(1), left(2)])).toEqual({ ids: ["i1", "i2"] });
});
