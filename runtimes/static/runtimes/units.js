// While a quantity is typed, shows its value in the API's unit beside it. The server parses the same way: see units.py.
"use strict";
(() => {
  const UNITS = {
    bytes: { "": 1, b: 1, byte: 1, bytes: 1, k: 2 ** 10, kib: 2 ** 10, m: 2 ** 20, mib: 2 ** 20, g: 2 ** 30, gib: 2 ** 30 },
    ms: { "": 1, ms: 1, s: 1e3, m: 60e3, min: 60e3, h: 3600e3 },
  };
  const number = (text, kind) => {
    const [, digits, unit] = text.trim().match(/^([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]{0,5})$/) || [];
    const value = Number(digits) * UNITS[kind][unit?.toLowerCase()];
    return Number.isInteger(value) ? value : NaN;
  };
  const size = (bytes) => {
    const [unit, one] = [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]].find(([, one]) => bytes >= one) || ["bytes", 1];
    return `${Number((bytes / one).toFixed(2))} ${unit}`;
  };
  // Recomputes the memory cost of the pool from the sizes in the form.
  const pool = () => {
    const cost = document.querySelector("[data-pool-idle]");
    if (!cost) return;
    const idle = Number(cost.dataset.poolIdle);
    const memory = number(document.getElementById("id_memory_bytes").value, "bytes");
    for (const place of cost.querySelectorAll("[data-of]")) {
      const count = Number(document.getElementById(`id_${place.dataset.of}`).value);
      const each = place.dataset.each === "memory" ? memory : idle;
      place.textContent = Number.isFinite(count * each) ? size(count * each) : "?";
    }
  };
  document.addEventListener("input", ({ target }) => {
    const kind = target.dataset?.unit;
    if (kind) {
      const value = number(target.value, kind);
      target.closest(".quantity-field").querySelector(".unit-hint").textContent = !target.value.trim() ? "" : Number.isNaN(value) ? `not a number of ${kind}` : `= ${value.toLocaleString("en")} ${kind}`;
    }
    if (["id_pool_min", "id_pool_max", "id_memory_bytes"].includes(target.id)) pool();
  });
})();
