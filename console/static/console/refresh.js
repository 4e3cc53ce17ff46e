// Reads the page anew every so many seconds, unless somebody is about to use it or reads what would be folded.
"use strict";
(() => {
  const { seconds } = document.currentScript.dataset;
  setInterval(() => {
    if (document.hidden || document.activeElement?.matches("input, select, textarea, button")) return;
    if (document.querySelector("#content-main details[open], #main details[open], main details[open]")) return;
    location.reload();
  }, seconds * 1000);
})();
