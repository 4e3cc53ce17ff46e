// Says beside a number of bytes or milliseconds what it is in the units people think in.
"use strict";
(() => {
  const UNITS = {
    bytes: [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10], ["bytes", 1]],
    ms: [["h", 3600e3], ["min", 60e3], ["s", 1e3], ["ms", 1]],
  };
  const inWords = (value, kind) => {
    if (!(value > 0)) return "";
    const [unit, size] = UNITS[kind].find(([, size]) => value >= size) || UNITS[kind].at(-1);
    return `= ${Number((value / size).toFixed(2))} ${unit}`;
  };
  document.addEventListener("input", ({ target }) => {
    const kind = target.dataset?.unit;
    if (kind) target.nextElementSibling.textContent = inWords(Number(target.value), kind);
  });
})();
