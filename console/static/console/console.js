// Registers the functions that the theme's templates call: Alpine's CSP build cannot read globals.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  // The theme's icons are words in an icon font. Hide them from screen readers where the element has a name.
  for (const icon of document.querySelectorAll(".material-symbols-outlined")) {
    const named = icon.closest("a, button");
    if (named && named.textContent.trim() !== icon.textContent.trim()) icon.setAttribute("aria-hidden", "true");
  }
});
document.addEventListener("alpine:init", () => {
  for (const name of ["theme", "searchForm", "searchDropdown", "searchCommand"]) {
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
