// An execution that is under way: its output as it comes, and the whole page once it has ended.
"use strict";
(() => {
  const page = document.getElementById("execution");
  // A frame asks for nothing until somebody unfolds it.
  for (const details of document.querySelectorAll("details:has(iframe[data-src])")) {
    details.addEventListener("toggle", () => {
      const frame = details.querySelector("iframe");
      if (details.open && !frame.src) frame.src = frame.dataset.src;
    });
  }
  if (!page || !page.dataset.events) return;
  const outputs = ["stdout", "stderr"].filter((name) => document.getElementById(name));
  const source = new EventSource(page.dataset.events);
  // Each connection begins at the beginning.
  source.addEventListener("open", () => {
    for (const name of outputs) liveOutput.clear(document.getElementById(name));
  });
  for (const name of outputs) {
    source.addEventListener(name, (event) => {
      const output = document.getElementById(name);
      output.hidden = false;
      document.querySelector(`[data-empty=${name}]`)?.remove();
      liveOutput.append(output, JSON.parse(event.data).pieces);
    });
  }
  source.addEventListener("status", (event) => {
    const { status } = JSON.parse(event.data);
    const badge = document.querySelector("#status .status");
    badge.className = `status status-${status}`;
    badge.textContent = liveOutput.words(status);
  });
  source.addEventListener("end", () => { source.close(); location.reload(); });
})();
