// Follows the log of a build until it ends, and then reloads the page.
"use strict";

(() => {
  const log = document.getElementById("build-log");
  const progress = document.getElementById("build-progress");
  const state = document.querySelector("#build-state .status");
  let since = 0;
  let watched = false;

  async function look() {
    let wait = 1000;
    try {
      const answer = await fetch(`${log.dataset.url}?since=${since}`, { headers: { Accept: "application/json" } });
      if (answer.ok) {
        const build = await answer.json();
        const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 20;
        log.append(build.log);
        if (atEnd) log.scrollTop = log.scrollHeight;
        since = build.next;
        // Only a change is announced by a screen reader.
        if (state.textContent !== build.label) {
          state.textContent = build.label;
          state.className = `status status-${build.state}`;
        }
        progress.textContent = build.progress;
        if (build.more) wait = 0;
        else if (!build.unfinished) {
          if (watched) location.reload();
          return;
        }
        watched ||= build.unfinished;
      }
    } catch {
      // The web process may be restarting.
      wait = 3000;
    }
    setTimeout(look, wait);
  }

  look();
})();
