// Light or dark: as the system says until the visitor chooses otherwise.

const STORE = "jr2net-theme";
const ORDER = ["auto", "light", "dark"];

export function offerThemes(button) {
  const apply = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  };
  const stored = () => (ORDER.includes(localStorage.getItem(STORE)) ? localStorage.getItem(STORE) : "auto");
  apply(stored());
  button.addEventListener("click", () => {
    const next = ORDER[(ORDER.indexOf(stored()) + 1) % ORDER.length];
    localStorage.setItem(STORE, next);
    apply(next);
  });
}
