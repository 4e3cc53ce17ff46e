// Reads the page anew every so many seconds, unless somebody is about to use it.
"use strict";
(() => {
  const { seconds } = document.currentScript.dataset;
  setInterval(() => {
    if (document.hidden || document.activeElement?.matches("input, select, textarea, button")) return;
    location.reload();
  }, seconds * 1000);
})();
