"use strict";

// Says beneath the editor what the text in it means, while it is typed; and searches the table of system calls.
document.addEventListener("DOMContentLoaded", () => {
  const rules = document.getElementById("id_rules");
  const read = document.getElementById("seccomp-read");
  let waiting, asked = 0;

  const check = async () => {
    const mine = ++asked;
    const body = new FormData();
    body.append("rules", rules.value);
    body.append("csrfmiddlewaretoken", rules.form.elements.csrfmiddlewaretoken.value);
    const answer = await fetch(read.dataset.check, { method: "POST", body });
    const html = await answer.text();
    if (answer.ok && mine === asked) document.getElementById("seccomp-read-content").innerHTML = html;
  };

  if (rules && read) {
    rules.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(check, 400);
    });
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
