// Turns the sections of a form into tabs. Links into a section, such as those of errors, open it.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const list = document.querySelector(".tabbed > .tabs");
  if (!list) return;
  const tabs = [...list.querySelectorAll("a")];
  const panel = (tab) => document.getElementById(tab.hash.slice(1));

  const select = (chosen) => {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      panel(tab).hidden = tab !== chosen;
    }
  };
  // Opens the section that the address names, or that holds the element it names. Returns whether there is one.
  const follow = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const tab = target && tabs.find((each) => panel(each).contains(target));
    if (!tab) return false;
    select(tab);
    if (target !== panel(tab)) {
      target.focus();
      target.scrollIntoView({ block: "center" });
    }
    return true;
  };

  list.setAttribute("role", "tablist");
  for (const tab of tabs) {
    tab.id = `tab-of-${panel(tab).id}`;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel(tab).id);
    panel(tab).setAttribute("role", "tabpanel");
    panel(tab).setAttribute("aria-labelledby", tab.id);
  }
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("a");
    if (!tab) return;
    event.preventDefault();
    select(tab);
    history.replaceState(null, "", tab.hash);
  });
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const tab = tabs[(to + tabs.length) % tabs.length];
    tab.focus();
    tab.click();
  });
  window.addEventListener("hashchange", follow);
  const wrong = tabs.find((tab) => panel(tab).dataset.errors);
  if (wrong || !follow()) select(wrong || tabs[0]);
});
