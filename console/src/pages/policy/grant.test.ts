import { expect, test } from "vitest";
import { at, grantIn, many, NEW, put } from "./grant";

test("what is put in stands there, and what is taken out leaves no trace", () => {
  const one = put(put(NEW, "where.paths", ["/srv/**"]), "when.until", 5);
  expect(one).toEqual({ effect: "allow", subject: "", operations: [], where: { paths: ["/srv/**"] }, when: { until: 5 } });
  expect(many(one, "where.paths")).toEqual(["/srv/**"]);
  expect(put(put(one, "where.paths", []), "when.until", undefined)).toEqual(NEW);
  expect(put(one, "subject", "agent:x").subject).toBe("agent:x");
});

test("what the form does not know stays", () => {
  const given = { ...NEW, where: { args: { force: true } } };
  expect(put(put(given, "where.hosts", ["a:1"]), "where.hosts", []).where).toEqual({ args: { force: true } });
  expect(at(given, "where.args")).toEqual({ force: true });
});

test("an address carries a grant or nothing", () => {
  expect(grantIn('{"effect": "deny"}')).toEqual({ effect: "deny" });
  expect(grantIn({ effect: "deny" })).toEqual({ effect: "deny" });
  for (const wrong of ["[1]", "{", 7, null, undefined]) expect(grantIn(wrong)).toBe(null);
});
