"use strict";

// While rules are edited, shows their effect below the editor and the findings at each rule. Also filters the table of
// system calls. The rows themselves are in rules.js.
document.addEventListener("DOMContentLoaded", () => {
  const read = document.getElementById("seccomp-read");
  const editor = () => document.querySelector(".rules-editor");
  let waiting, asked = 0;

  // Copies the server's findings to the rows. The server numbers the rules without the empty and the removed rows.
  const distribute = () => {
    const rows = [...editor().querySelectorAll(".rules-list > .rule")].filter((rule) => rule.counts);
    for (const place of editor().querySelectorAll(".rule-findings")) place.replaceChildren();
    for (const said of read.querySelectorAll("li[data-rule]")) {
      const place = rows[Number(said.dataset.rule) - 1]?.querySelector(".rule-findings");
      if (!place) continue;
      if (!place.firstChild) place.append(Object.assign(document.createElement("ul"), { className: "seccomp-findings" }));
      place.firstChild.append(said.cloneNode(true));
    }
  };

  const check = async () => {
    const mine = ++asked;
    const body = new FormData(editor().closest("form"));
    body.delete("imported");
    const answer = await fetch(read.dataset.check, { method: "POST", body });
    const html = await answer.text();
    if (!answer.ok || mine !== asked) return;
    document.getElementById("seccomp-read-title").textContent = "Effect of the unsaved rules";
    document.getElementById("seccomp-read-content").innerHTML = html;
    distribute();
  };

  if (read && editor()) {
    const soon = (event) => {
      if (!event.target.closest?.(".rules-editor") || event.target.matches("[data-add], .rules-mode input")) return;
      clearTimeout(waiting);
      waiting = setTimeout(check, 400);
    };
    document.addEventListener("input", soon);
    document.addEventListener("change", soon);
    document.addEventListener("rules-changed", soon);
    if (document.querySelector(".errorlist")) check();
  }

  document.addEventListener("input", (event) => {
    if (!event.target.matches(".seccomp-search")) return;
    const wanted = event.target.value.trim().toLowerCase();
    for (const row of event.target.parentNode.querySelectorAll(".seccomp-calls tbody tr")) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
    }
  });
});
