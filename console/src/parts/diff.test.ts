import { expect, test } from "vitest";
import { linesOf } from "./diff";

test("lines have their numbers on both sides", () => {
  const found = linesOf("--- a\n+++ a\n@@ -3,2 +3,2 @@\n same\n-old\n+new\n");
  expect(found.map((one) => [one.kind, one.before, one.after])).toEqual([
    ["head", null, null], ["head", null, null], ["head", null, null], ["same", 3, 3], ["del", 4, null], ["add", null, 4],
  ]);
});

test("a second file begins anew", () => {
  const found = linesOf("--- a\n+++ a\n@@ -1 +1 @@\n-x\n+y\n--- b\n+++ b\n@@ -0,0 +1 @@\n+z\n");
  expect(found.filter((one) => one.kind === "add").map((one) => one.after)).toEqual([1, 1]);
});

test("rows of a table come and go without hunks", () => {
  const found = linesOf('--- public.orders\n+++ public.orders\n-{"id": 2}\n+{"id": 2, "paid": 1}\n');
  expect(found.map((one) => one.kind)).toEqual(["head", "head", "del", "add"]);
});
