// Ctrl+K opens a field that finds pages and rows. Arrows choose, Enter goes there, Esc closes.
"use strict";
(() => {
  const dialog = document.getElementById("command");
  const input = dialog.querySelector("input");
  const results = document.getElementById("command-results");
  let shown = "";
  let asked = 0;

  const items = () => [...results.querySelectorAll("a")];
  const current = () => results.querySelector("[aria-selected=true]");
  function choose(item) {
    current()?.removeAttribute("aria-selected");
    if (!item) return input.removeAttribute("aria-activedescendant");
    item.setAttribute("aria-selected", "true");
    item.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", item.id);
  }
  async function find() {
    const text = input.value.trim();
    const turn = ++asked;
    const answer = await fetch(`${dialog.dataset.address}?s=${encodeURIComponent(text)}`);
    if (answer.redirected) return location.reload(); // the session has ended
    const html = answer.ok ? await answer.text() : "";
    if (turn !== asked) return;
    results.innerHTML = html; // the server's own page, with everything escaped
    shown = text;
    choose(items()[0]);
  }
  function move(step) {
    const all = items();
    choose(all[(all.indexOf(current()) + step + all.length) % all.length]);
  }

  document.addEventListener("keydown", (event) => {
    if (event.key !== "k" || !(event.ctrlKey || event.metaKey) || event.defaultPrevented) return;
    if (event.target.closest("input, textarea, select, [contenteditable=true]")) return;
    event.preventDefault();
    dialog.showModal();
    input.select();
  });
  let timer;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, 200);
  });
  input.addEventListener("keydown", async (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      move(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter") {
      event.preventDefault();
      clearTimeout(timer);
      if (shown !== input.value.trim()) await find();
      current()?.click();
    }
  });
  dialog.addEventListener("click", ({ target }) => { if (target === dialog) dialog.close(); });
})();
