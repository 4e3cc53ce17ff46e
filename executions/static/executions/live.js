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
  for (const name of ["stdout", "stderr"]) document.getElementById(name).textContent = "";
  const source = new EventSource(page.dataset.events);
  for (const name of ["stdout", "stderr"]) {
    source.addEventListener(name, (event) => {
      const output = document.getElementById(name);
      output.hidden = false;
      document.querySelector(`[data-empty=${name}]`)?.remove();
      output.append(JSON.parse(event.data).text.replace(/\x1b\[[0-9;]*[A-Za-z]/g, ""));
      output.scrollTop = output.scrollHeight;
    });
  }
  source.addEventListener("status", (event) => {
    const { status } = JSON.parse(event.data);
    const badge = document.querySelector("#status .status");
    badge.className = `status status-${status}`;
    badge.textContent = status.replaceAll("_", " ");
  });
  source.addEventListener("end", () => { source.close(); location.reload(); });
})();
