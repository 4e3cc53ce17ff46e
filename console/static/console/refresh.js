// Reloads the page every `data-seconds` seconds, except while a control has the focus or the reader has opened a
// <details>.
"use strict";
(() => {
  const { seconds } = document.currentScript.dataset;
  const open = () => document.querySelectorAll("#content-main details[open], #main details[open], main details[open]");
  // A reload opens these again.
  const openAnyway = new Set(open());
  setInterval(() => {
    if (document.hidden || document.activeElement?.matches("input, select, textarea, button")) return;
    if ([...open()].some((details) => !openAnyway.has(details))) return;
    location.reload();
  }, seconds * 1000);
})();
