// Registers the functions that the theme's templates call: Alpine's CSP build cannot read globals.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  // The theme's icons are words in an icon font. Hide them from screen readers where the element has a name.
  for (const icon of document.querySelectorAll(".material-symbols-outlined")) {
    const named = icon.closest("a, button");
    if (named && named.textContent.trim() !== icon.textContent.trim()) icon.setAttribute("aria-hidden", "true");
  }
});
// A button with `data-copy` copies the text of the element that it names.
document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const words = button.textContent;
  button.textContent = await copied(source) ? "Copied" : "Press Ctrl C";
  setTimeout(() => { button.textContent = words; }, 1500);
});
async function copied(source) {
  // Over plain HTTP, browsers offer no clipboard; the text is selected then.
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
}
document.addEventListener("alpine:init", () => {
  for (const name of ["theme", "searchForm", "searchDropdown"]) {
    Alpine.data(name, (...values) => window[name](...values));
  }
  Alpine.data("shell", () => ({
    activeTab: "",
    // The theme's forms read `window` from this component.
    window: { location: { pathname: location.pathname, search: location.search } },
    sidebarMobileOpen: false,
    sidebarDesktopOpen: localStorage.getItem("sidebarDesktopOpen") !== "0",
    init() {
      this.activeTab = (window.getCurrentTab && window.getCurrentTab()) || this.$el.dataset.tab;
      this.$watch("sidebarDesktopOpen", (open) => localStorage.setItem("sidebarDesktopOpen", open ? "1" : "0"));
    },
  }));
});
