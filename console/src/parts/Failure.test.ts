import { expect, test } from "vitest";
import { nextOf, saidOf } from "./Failure";

test("whatever goes wrong in the browser says what to do next", () => {
  for (const fault of [new TypeError("Failed to fetch"), new DOMException("", "TimeoutError"), new DOMException("", "NotAllowedError"), new Error("This should look like 5."), null, "?"]) {
    const said = saidOf(fault);
    expect([said.what.length > 0, said.next.length > 0]).toEqual([true, true]);
  }
  expect(saidOf(new TypeError("Failed to fetch"), true).next).toContain("Try again");
  expect(saidOf(new DOMException("The operation either timed out or was not allowed.", "NotAllowedError")).what).toContain("passkey");
  expect(saidOf(new TypeError("Failed to fetch")).what).toContain("does not answer");
  expect(saidOf(new Error("This should look like 5.")).what).toBe("This should look like 5.");
});

test("every kind of answer leads on, also where the server gave no hint", () => {
  for (const status of [0, 400, 401, 403, 404, 409, 412, 422, 428, 429, 500, 502, 503]) expect(nextOf(status)).not.toBe("");
});
