import { expect, test } from "vitest";
import { noticed, onRights } from "./rights";

test("other roles, other grants or another policy are told once; the same are not", () => {
  let told = 0;
  const stop = onRights(() => told++);
  noticed("person", [["owner"], []]);
  noticed("policy", [1, ["role:owner:1"]]);
  noticed("person", [["owner"], []]);
  noticed("policy", [1, ["role:owner:1"]]);
  expect(told).toBe(0);
  noticed("person", [["viewer"], []]);
  noticed("person", [["viewer"], []]);
  expect(told).toBe(1);
  noticed("policy", [2, ["role:owner:1"]]);
  expect(told).toBe(2);
  stop();
  noticed("policy", [3, []]);
  expect(told).toBe(2);
});
