// Light, dark, or as the system says. Kept in this browser.

export type Theme = "auto" | "light" | "dark";
const NAME = "superagent-theme";

function read(): Theme {
  const found = localStorage.getItem(NAME);
  return found === "light" || found === "dark" ? found : "auto";
}

function apply(one: Theme): void {
  if (one === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = one;
}

apply(read());

export const theme = {
  chosen: read,
  choose(one: Theme): void {
    localStorage.setItem(NAME, one);
    apply(one);
  },
};
