"use strict";

// The rules as rows: add and move rules, and search calls by name or purpose. Without this script the same form works
// with an empty row to fill in, a position to number and a checkbox to remove.
document.addEventListener("DOMContentLoaded", () => {
  const MOST_SHOWN = 8;
  const editor = () => document.querySelector(".rules-editor");
  if (!editor()) return;

  const field = (row, name) => row.querySelector(`[name$="-${name}"]`);
  const changed = (element) => element.dispatchEvent(new CustomEvent("rules-changed", { bubbles: true }));
  const list = () => editor().querySelector(".rules-list");
  const calls = () => [...editor().querySelectorAll("datalist option")].map(({ value, label }) => [value, label]);

  // A row counts unless it is removed, or new and still empty. The server uses the same rule.
  const counts = (rule) => {
    if (field(rule, "remove").checked) return false;
    if (!rule.classList.contains("new")) return true;
    const filled = (input) => input.name && input.type !== "hidden" && !/-(place|remove)$/.test(input.name) && input.value.trim();
    return [...rule.querySelectorAll("input, select, textarea")].some(filled);
  };

  const arrange = () => {
    let number = 0;
    [...list().children].forEach((rule, index) => {
      field(rule, "place").value = index + 1;
      rule.counts = counts(rule);
      rule.classList.toggle("is-out", field(rule, "remove").checked);
      rule.querySelector(".rule-number").textContent = rule.counts ? ++number : "";
    });
  };

  // Shows errno only for the action ERRNO, and the second value only for the masked comparison.
  const suit = () => {
    for (const bar of editor().querySelectorAll(".bar-of-fields")) {
      const action = bar.querySelector("[data-action]");
      const errno = bar.querySelector(".errno input");
      if (action && errno) errno.closest("label").hidden = action.value !== "SCMP_ACT_ERRNO" && !errno.value;
      const compared = bar.querySelector("[data-op]");
      const two = bar.querySelector(".two input");
      if (compared && two) two.closest("label").hidden = compared.value !== "SCMP_CMP_MASKED_EQ" && !two.value;
      if (compared) bar.classList.toggle("is-out", field(bar, "remove").checked);
    }
  };

  const explain = (rule) => {
    const known = new Map(calls());
    const names = field(rule, "names").value.split(/[\s,]+/).filter(Boolean);
    rule.querySelector(".meanings dl").replaceChildren(...names.map((name) => {
      const line = document.createElement("div");
      const code = Object.assign(document.createElement("code"), { textContent: name });
      const term = document.createElement("dt");
      term.append(code);
      line.append(term, Object.assign(document.createElement("dd"), { textContent: known.get(name) ?? "not a known system call" }));
      return line;
    }));
    rule.querySelector(".meanings").hidden = !names.length;
  };

  const suggest = (input) => {
    const wanted = input.value.trim().toLowerCase();
    // Send the text only if it is a whole name: part of a word is only a search.
    input.dataset.add ||= input.name;
    input.name = calls().some(([name]) => name === wanted) ? input.dataset.add : "";
    const found = wanted ? calls().filter((call) => call.join(" ").toLowerCase().includes(wanted)) : [];
    // Calls whose name begins with the text come first.
    found.sort((a, b) => b[0].startsWith(wanted) - a[0].startsWith(wanted));
    const shown = found.slice(0, MOST_SHOWN).map(([name, description]) => {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "button small" });
      button.append(Object.assign(document.createElement("code"), { textContent: name }), ` ${description}`);
      Object.assign(button.dataset, { do: "take", name });
      const item = document.createElement("li");
      item.append(button);
      return item;
    });
    input.closest(".bar-of-fields").querySelector(".suggestions").replaceChildren(...shown);
  };

  const take = (rule, name) => {
    const names = field(rule, "names");
    const there = names.value.split(/[\s,]+/).filter(Boolean);
    if (name && !there.includes(name)) names.value = [...there, name].join(" ");
    const input = rule.querySelector("[data-add]");
    input.value = "";
    suggest(input);
    explain(rule);
    arrange();
    changed(names);
    input.focus();
  };

  const free = (names, pattern) => Math.max(-1, ...names.map((name) => Number(name.match(pattern)?.[1] ?? -1))) + 1;
  const namesIn = (element) => [...element.querySelectorAll("[name]")].map(({ name }) => name);
  const renamed = (element, from, to) => {
    for (const input of element.querySelectorAll("[name]")) input.name = input.name.replace(from, to);
    return element;
  };
  const fresh = () => editor().querySelector(".rule-template").content.firstElementChild.cloneNode(true);

  const acts = {
    "add-rule": () => {
      const index = free(namesIn(list()), /^rules-(\d+)-action$/);
      const rule = renamed(fresh(), "rules-RULE-", `rules-${index}-`);
      rule.querySelector(".condition").remove();
      list().append(rule);
      prepare();
      field(rule, "action").focus();
    },
    "add-condition": (rule) => {
      const prefix = field(rule, "action").name.replace(/-action$/, "");
      const index = free(namesIn(rule), /-arg-(\d+)-op$/);
      const condition = renamed(fresh().querySelector(".condition"), "rules-RULE-arg-0", `${prefix}-arg-${index}`);
      rule.querySelector(".conditions").append(condition);
      prepare();
      field(condition, "index").focus();
    },
    up: (rule, button) => { rule.previousElementSibling?.before(rule); button.focus(); },
    down: (rule, button) => { rule.nextElementSibling?.after(rule); button.focus(); },
    take: (rule, button) => take(rule, button.dataset.name),
  };

  // Prepares an editor that has just come from the server, or a new row.
  const prepare = () => {
    const mode = editor().dataset.mode;
    editor().classList.add("is-scripted");
    editor().querySelector(".rules-json").hidden = mode !== "json";
    const rows = editor().querySelector(".rules-rows");
    if (!rows) return;
    rows.hidden = mode !== "form";
    for (const hidden of rows.querySelectorAll(".scripted")) hidden.hidden = false;
    for (const input of rows.querySelectorAll("[data-add]")) input.removeAttribute("list");
    arrange();
    suit();
    for (const rule of list().children) rule.querySelector(".meanings").hidden = !rule.querySelector(".meanings dt");
  };
  // Removes the empty rows for filling in: with this script, buttons add rows.
  const prune = () => {
    for (const empty of editor().querySelectorAll(".rules-list .condition.new")) empty.remove();
    for (const rule of editor().querySelectorAll(".rules-list > .rule.new")) if (!counts(rule)) rule.remove();
  };

  const turn = async (mode) => {
    const body = new FormData(editor().closest("form"));
    body.delete("imported");
    body.set("rules-editor", editor().dataset.mode);
    body.set("to", mode);
    const answer = await fetch(document.getElementById("seccomp-read").dataset.editor, { method: "POST", body });
    if (!answer.ok) return;
    const html = await answer.text();
    editor().outerHTML = html;
    prune();
    prepare();
    editor().querySelector(".rules-mode input:checked").focus();
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".rules-editor [data-do]");
    if (!button) return;
    acts[button.dataset.do](button.closest(".rule"), button);
    arrange();
    if (button.isConnected) changed(button);
  });
  document.addEventListener("input", ({ target }) => {
    if (target.matches("[data-add]")) suggest(target);
    if (target.matches("[data-names]")) explain(target.closest(".rule"));
  });
  document.addEventListener("change", ({ target }) => {
    if (!target.closest(".rules-editor")) return;
    if (target.matches(".rules-mode input")) turn(target.value);
    else if (list()) { arrange(); suit(); }
  });
  // Enter adds the call; it must not submit the form.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.target.matches("[data-add]")) return;
    event.preventDefault();
    const rule = event.target.closest(".rule");
    const first = rule.querySelector(".suggestions button");
    const typed = event.target.value.trim();
    take(rule, calls().some(([name]) => name === typed) ? typed : first?.dataset.name ?? typed);
  });

  prune();
  prepare();
});
