import { expect, test } from "vitest";
import { pieces } from "./visible";

const shown = (text: string): string => pieces(text).map((one) => (one.hidden ? `[${one.text}]` : one.text)).join("");

test("plain text stays as it is", () => {
  expect(shown("naïve 日本 👩 \n\t")).toBe("naïve 日本 👩 \n\t");
  expect(shown("")).toBe("");
});

test("what turns the text around, or is not seen, is named", () => {
  expect(shown("a\u202eb\u200bc\ufeff")).toBe("a[U+202E]b[U+200B]c[U+FEFF]");
  expect(shown("x\u{e0041}y\u001b[31m")).toBe("x[U+E0041]y[U+001B][31m");
});
