// Reloads the page every `data-seconds` seconds, except while a control has the focus or a <details> is open.
"use strict";
(() => {
  const { seconds } = document.currentScript.dataset;
  setInterval(() => {
    if (document.hidden || document.activeElement?.matches("input, select, textarea, button")) return;
    if (document.querySelector("#content-main details[open], #main details[open], main details[open]")) return;
    location.reload();
  }, seconds * 1000);
})();
