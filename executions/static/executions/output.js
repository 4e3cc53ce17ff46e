// Appends output that the server has split into coloured pieces. Output is only ever inserted as text, never as HTML.
"use strict";
window.liveOutput = (() => {
  // Cap on characters while the program runs. The page of the ended execution has all output.
  const MOST = 200_000;
  const sizes = new WeakMap();
  function clear(element) {
    element.textContent = "";
    sizes.set(element, 0);
  }
  function append(element, pieces) {
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
    let size = sizes.get(element) || 0;
    for (const [classes, text] of pieces) {
      const span = document.createElement("span");
      span.className = classes;
      span.textContent = text;
      element.append(span);
      size += text.length;
    }
    while (size > MOST && element.childNodes.length > 1) {
      size -= element.firstChild.textContent.length;
      element.firstChild.remove();
      element.dataset.cut = "yes";
    }
    sizes.set(element, size);
    if (atEnd) element.scrollTop = element.scrollHeight;
  }
  // The name of a status, as on the server's pages.
  function words(status) {
    if (status === "output_limit") return "Output limit exceeded";
    return status.charAt(0).toUpperCase() + status.slice(1).replaceAll("_", " ");
  }
  return { clear, append, words };
})();
