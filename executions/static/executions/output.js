// Output as the server divided it by its colours. Text stays text: nothing of it is ever read as HTML.
"use strict";
window.liveOutput = (() => {
  // A page bears no more. All of it is there once the program has ended.
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
  // A status as the server's own pages write it.
  function words(status) {
    return status.charAt(0).toUpperCase() + status.slice(1).replaceAll("_", " ");
  }
  return { clear, append, words };
})();
