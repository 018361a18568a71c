import { expect, test } from "vitest";
import { pieces } from "./visible";

const shown = (text: string): string => pieces(text).map((one) => (one.hidden ? `[${one.text}]` : one.text)).join("");

test("plain text stays as it is", () => {
  expect(shown("naïve 日本 👩 \n\t")).toBe("naïve 日本 👩 \n\t");
  expect(shown("")).toBe("");
});

test("what turns the text around, or is not seen, is named", () => {
  expect(shown("a\u202eb\u200bc\ufeff")).toBe("a[U+202E]b[U+200B]c[U+FEFF]");
  expect(shown("a\u2028b\u2800c\u{1d173}d\u{e000}e\r\n")).toBe("a[U+2028]b[U+2800]c[U+1D173]d[U+E000]e[U+000D]\n");
  expect(shown("x\u{e0041}y\u001b[31m")).toBe("x[U+E0041]y[U+001B][31m");
});

test("marks that would lie over other lines are named, those of languages are not", () => {
  expect(shown("Việt ไม่ नमस्ते")).toBe("Việt ไม่ नमस्ते");
  expect(shown(`z${"\u0351".repeat(6)}`)).toBe(`z${"\u0351".repeat(4)}[U+0351][U+0351]`);
});
