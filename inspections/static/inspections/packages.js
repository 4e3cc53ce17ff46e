// Narrows the tables of packages to the rows whose name or version contains the typed text.
"use strict";
(() => {
  const box = document.getElementById("package-search");
  const input = box.querySelector("input");
  const status = box.querySelector("[role=status]");
  const lists = [...document.querySelectorAll("section.packages")].map((section) => ({
    section,
    details: section.querySelector("details"),
    wasOpen: section.querySelector("details").open,
    rows: [...section.querySelectorAll("tbody tr")].map((row) => [row, row.textContent.toLowerCase()]),
  }));
  box.hidden = false;
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let all = 0;
    for (const { section, details, wasOpen, rows } of lists) {
      let found = 0;
      for (const [row, text] of rows) {
        row.hidden = !text.includes(wanted);
        found += !row.hidden;
      }
      section.hidden = !found;
      details.open = wanted ? true : wasOpen;
      all += found;
    }
    status.textContent = wanted ? `${all} found` : "";
  });
})();
