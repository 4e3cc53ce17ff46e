// Brings the page up to date every `data-seconds` seconds, except while a control has the focus or text is selected.
// A page with an element `data-live` gets only that element's content, in place: what is being read stays where it is.
// Other pages are reloaded, unless the reader has opened a <details>.
"use strict";
(() => {
  const script = document.currentScript;
  const open = () => document.querySelectorAll("#content-main details[open], #main details[open], main details[open]");
  // A reload opens these again.
  const openAnyway = new Set(open());
  const isBusy = () =>
    document.hidden || document.activeElement?.matches("input, select, textarea, button") || !getSelection().isCollapsed;
  const nameOf = (details) => details.id || details.querySelector("summary").textContent;

  function inView(live) {
    return [...live.querySelectorAll("[id]")].find((element) => {
      const { bottom, height } = element.getBoundingClientRect();
      return height && bottom > 0;
    });
  }
  function scrollerOf(element) {
    for (let at = element.parentElement; at; at = at.parentElement) {
      if (at.scrollHeight > at.clientHeight && /auto|scroll/.test(getComputedStyle(at).overflowY)) return at;
    }
    return document.scrollingElement;
  }

  function replace(live, fresh) {
    const opened = new Set([...live.querySelectorAll("details[open]")].map(nameOf));
    const wide = [...live.querySelectorAll(".wide")].map(({ scrollLeft }) => scrollLeft);
    const anchor = inView(live);
    const before = anchor?.getBoundingClientRect().top;
    live.replaceChildren(...fresh.childNodes);
    for (const details of live.querySelectorAll("details")) details.open = opened.has(nameOf(details));
    [...live.querySelectorAll(".wide")].forEach((element, at) => { element.scrollLeft = wide[at] || 0; });
    const after = anchor && document.getElementById(anchor.id);
    if (after) scrollerOf(after).scrollTop += after.getBoundingClientRect().top - before;
  }

  async function refresh(live) {
    const answer = await fetch(location.href);
    if (!answer.ok || answer.redirected) return location.reload();
    // Our policy refuses its style element, which has the nonce of another response.
    const html = (await answer.text()).replace(/<style[^]*?<\/style>/g, "");
    const fresh = new DOMParser().parseFromString(html, "text/html");
    const next = fresh.querySelector("[data-live]");
    if (!next) return location.reload();
    if (isBusy()) return;
    replace(live, next);
    if (!fresh.querySelector(`script[src="${script.getAttribute("src")}"]`)) clearInterval(timer);
  }

  const timer = setInterval(() => {
    if (isBusy()) return;
    const live = document.querySelector("[data-live]");
    if (live) refresh(live).catch(() => {}); // the server is away: the next turn tries again
    else if ([...open()].every((details) => openAnyway.has(details))) location.reload();
  }, script.dataset.seconds * 1000);
})();
