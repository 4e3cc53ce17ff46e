// Follows an execution that has not ended: shows its output live, and reloads the page when it ends.
"use strict";
(() => {
  const page = document.getElementById("execution");
  // Load a preview's frame only when it is unfolded.
  for (const details of document.querySelectorAll("details:has(iframe[data-src])")) {
    details.addEventListener("toggle", () => {
      const frame = details.querySelector("iframe");
      if (details.open && !frame.src) frame.src = frame.dataset.src;
    });
  }
  if (!page || !page.dataset.events) return;
  const outputs = ["stdout", "stderr"].filter((name) => document.getElementById(name));
  const source = new EventSource(page.dataset.events);
  // Each connection sends all output from the beginning.
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
