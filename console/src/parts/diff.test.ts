import { expect, test } from "vitest";
import { linesOf } from "./diff";

test("lines have their numbers on both sides", () => {
  const found = linesOf("--- a\n+++ a\n@@ -3,2 +3,2 @@\n same\n-old\n+new\n").lines;
  expect(found.map((one) => [one.kind, one.before, one.after])).toEqual([
    ["head", null, null], ["head", null, null], ["head", null, null], ["same", 3, 3], ["del", 4, null], ["add", null, 4],
  ]);
});

test("a second file begins anew", () => {
  const found = linesOf("--- a\n+++ a\n@@ -1 +1 @@\n-x\n+y\n--- b\n+++ b\n@@ -0,0 +1 @@\n+z\n").lines;
  expect(found.filter((one) => one.kind === "add").map((one) => one.after)).toEqual([1, 1]);
});

test("of a long diff only what is wanted is read, and the rest is there when asked for", () => {
  const long = `--- a\n+++ a\n@@ -0,0 +1,300000 @@\n${"+0123456789012345678901234567890\n".repeat(300_000)}`;
  const some = linesOf(long, 500);
  expect([some.lines.length, some.more, some.lines.at(-1)?.after]).toEqual([500, true, 497]);
  expect(linesOf(long, 300_003).more).toBe(false);
  expect(linesOf("").lines.length).toBe(1);
});

test("content that looks like a head is content", () => {
  const found = linesOf("--- a\n+++ a\n@@ -1,3 +1,2 @@\n--- sql comment\n+++ sql comment\n same\n-@@ -1 +1 @@\n--- b\n+++ b\n@@ -1 +0,0 @@\n-x\n").lines;
  expect(found.map((one) => one.kind)).toEqual(["head", "head", "head", "del", "add", "same", "del", "head", "head", "head", "del"]);
});

test("a diff without hunks has content and no numbers; a sentence is a head", () => {
  const found = linesOf('--- version 1\n+++ version 2\n-{"a":1}\n+{"a":2}\n').lines;
  expect(found.map((one) => [one.kind, one.before, one.after])).toEqual([["head", null, null], ["head", null, null], ["del", null, null], ["add", null, null]]);
  expect(linesOf("--- a\n+++ a\nmore than 5000 lines differ, too many to show\n").lines.map((one) => one.kind)).toEqual(["head", "head", "head"]);
});
