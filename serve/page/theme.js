// Light or dark mode: the system's setting, unless the user chooses another one.

const STORAGE_KEY = "jr2net-theme";
const THEMES = ["auto", "light", "dark"];

export function initThemes(button) {
  const apply = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  };
  const stored = () => (THEMES.includes(localStorage.getItem(STORAGE_KEY)) ? localStorage.getItem(STORAGE_KEY) : "auto");
  apply(stored());
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(stored()) + 1) % THEMES.length];
    localStorage.setItem(STORAGE_KEY, next);
    apply(next);
  });
}
