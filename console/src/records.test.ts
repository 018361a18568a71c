import { expect, test } from "vitest";
import { merged, recordOf } from "./records";

const at = (time: number) => recordOf({ kind: "outcome", at: time, hash: `h${time}` });

test("what came twice stands there once, newest first", () => {
  const found = merged([at(5), at(4)], [at(6), at(4), at(1)]);
  expect(found.map((one) => one.at)).toEqual([6, 5, 4, 1]);
});

test("fresh records go on top", () => {
  expect(merged([at(9), at(8)], [at(7)]).map((one) => one.at)).toEqual([9, 8, 7]);
  expect(merged([], [at(7)]).map((one) => one.at)).toEqual([7]);
  expect(merged([at(7)], []).map((one) => one.at)).toEqual([7]);
});

test("a record that is none becomes an empty one and nothing breaks", () => {
  expect(recordOf(null).by).toBe("the platform");
  expect(recordOf({ resources: "no", chain_of: 5, at: "x" }).resources).toEqual([]);
});

test("how it was contained is read as it is shown", () => {
  expect(recordOf({ isolation: "native bubblewrap" }).isolation).toBe("native (bubblewrap)");
  expect([recordOf({ isolation: "none" }).isolation, recordOf({ grants: ["role:agent:1"] }).grants]).toEqual(["none", ["role:agent:1"]]);
});

test("what is changed stands before what was looked at for it", () => {
  const found = recordOf({ resources: [["connection://-/shop", "READ"], ["sql://shop/public.orders", "CHANGE"], ["path://local/x", "DESTROY"]] });
  expect(found.resources.map((one) => one[1])).toEqual(["DESTROY", "CHANGE", "READ"]);
});
