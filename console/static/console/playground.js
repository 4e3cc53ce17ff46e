// The playground: an editor, a run with live output, and the same API call to copy.
"use strict";
(() => {
  const form = document.getElementById("playground");
  const data = JSON.parse(document.getElementById("playground-data").textContent);
  const by = (id) => document.getElementById(id);
  const fields = form.elements;
  const runtimes = Object.fromEntries(data.runtimes.map((runtime) => [runtime.slug, runtime]));
  let source = null;
  let files = [];

  let untouched = true;
  // Fields that a person has filled, perhaps before this script was there. Examples leave them alone.
  const byHand = new Set([fields.arguments, fields.stdin, fields.argv].filter((field) => field.value !== field.defaultValue));
  const editor = codeEditor.replaceTextarea(by("code"), {
    label: "Program",
    describedBy: "code-keys",
    keys: [{ key: "Mod-Enter", run: () => { run(); return true; } }],
    onChange: (byHand) => { if (byHand) untouched = false; showCall(); },
  });

  function chooseRuntime() {
    const runtime = runtimes[fields.runtime.value];
    if (!runtime) return;
    fields.example.replaceChildren(...runtime.examples.map(({ name }, at) => new Option(name, at)));
    fields.example.closest("label").hidden = !runtime.examples.length;
    for (const option of fields.mode.options) option.disabled = !runtime.modes.includes(option.value);
    if (untouched) useExample(runtime.examples[0] || { mode: "script", code: "", arguments: "{}", stdin: "", files: [], argv: [] });
    else if (fields.mode.selectedOptions[0]?.disabled) fields.mode.value = runtime.modes[0];
    by("most").textContent = runtime.most;
    editor.setLanguage(runtime.slug);
    showCall();
  }

  function useExample(example) {
    editor.setText(example.code);
    fields.mode.value = example.mode;
    fill(fields.arguments, example.arguments);
    fill(fields.stdin, example.stdin);
    fill(fields.argv, example.argv.join("\n"));
    by("files").value = "";
    keepFiles(example.files);
    untouched = true;
  }
  function fill(field, text) {
    if (!byHand.has(field)) field.value = text;
  }
  function chooseExample() {
    if (!untouched && !confirm("Replace the program by the example?")) return;
    byHand.clear();
    useExample(runtimes[fields.runtime.value].examples[fields.example.value]);
    showCall();
  }
  function keepFiles(those) {
    files = those;
    by("file-names").hidden = !files.length;
    by("file-names").textContent = files.map(({ path }) => path).join(", ");
  }

  function request() {
    const wanted = { runtime: fields.runtime.value, mode: fields.mode.value, code: fields.code.value };
    if (wanted.mode === "function" && fields.arguments.value.trim()) wanted.arguments = JSON.parse(fields.arguments.value);
    if (fields.stdin.value) wanted.stdin = fields.stdin.value;
    if (fields.argv.value) wanted.argv = fields.argv.value.replace(/\n$/, "").split("\n");
    if (files.length) wanted.files = files;
    const limits = {};
    if (fields.wall_time_s.value) limits.wall_time_ms = Math.round(Number(fields.wall_time_s.value) * 1000);
    if (fields.cpu_time_s.value) limits.cpu_time_ms = Math.round(Number(fields.cpu_time_s.value) * 1000);
    if (fields.memory_mib.value) limits.memory_bytes = Number(fields.memory_mib.value) * 2 ** 20;
    if (Object.keys(limits).length) wanted.limits = limits;
    return wanted;
  }

  function showCall() {
    let wanted;
    try { wanted = { ...request(), wait: 60 }; } catch { return; }
    const json = JSON.stringify(wanted, null, 2);
    by("curl").textContent =
      `curl -s ${data.api} \\\n  -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\\n  -d '${json.replaceAll("'", "'\\''")}'`;
    by("python").textContent =
      `import json, os, requests\n\nwanted = json.loads(r"""${JSON.stringify(wanted).replaceAll('"""', '\\u0022""')}""")\n` +
      `answer = requests.post(\n    "${data.api}",\n    json=wanted,\n    headers={"Authorization": f"Bearer {os.environ['TOKEN']}"},\n    timeout=90,\n)\n` +
      `answer.raise_for_status()\nprint(answer.json()["status"], answer.json()["result"])`;
  }

  function show(name, text) {
    by(`${name}-part`).hidden = !text;
    by(name).textContent = text;
  }
  function badge(status) {
    const mark = document.createElement("span");
    mark.className = `status status-${status}`;
    mark.textContent = liveOutput.words(status);
    by("state").replaceChildren(mark);
  }
  function problem(text) {
    by("problem").hidden = !text;
    by("problem").textContent = text;
  }
  function busy(is) {
    by("run").disabled = is;
    by("cancel").hidden = !is;
  }

  async function run(event) {
    event?.preventDefault?.();
    if (by("run").disabled) return;
    for (const name of ["result", "stdout", "stderr"]) show(name, "");
    by("hint").hidden = true;
    by("artifacts-part").hidden = true;
    by("times").textContent = "";
    by("state").replaceChildren();
    problem("");
    let wanted;
    try { wanted = request(); } catch (error) { return problem(`The arguments are not JSON: ${error.message}`); }
    busy(true);
    try {
      const answer = await send(data.run, JSON.stringify(wanted), { "Content-Type": "application/json" });
      const told = await answer.json();
      if (!answer.ok) throw new Error([told.detail, told.remedy].filter(Boolean).join(" "));
      watch(told);
    } catch (error) {
      problem(error.message);
      busy(false);
    }
  }
  function send(address, body, headers = {}) {
    return fetch(address, { method: "POST", body, headers: { ...headers, "X-CSRFToken": fields.csrfmiddlewaretoken.value } });
  }

  function watch(told) {
    by("whole-page").href = told.page;
    by("whole-page").hidden = false;
    by("cancel").onclick = () => send(told.cancel, "");
    source = new EventSource(told.events);
    // Each connection receives the output from its start.
    source.addEventListener("open", () => { for (const name of ["stdout", "stderr"]) liveOutput.clear(by(name)); });
    for (const name of ["stdout", "stderr"]) {
      source.addEventListener(name, ({ data: text }) => {
        by(`${name}-part`).hidden = false;
        liveOutput.append(by(name), JSON.parse(text).pieces);
      });
    }
    source.addEventListener("status", ({ data: text }) => badge(JSON.parse(text).status));
    source.addEventListener("end", async () => {
      source.close();
      const answer = await fetch(`${data.run}?id=${told.id}`);
      const end = await answer.json();
      badge(end.status);
      problem(end.status === "succeeded" ? "" : [end.outcome.replaceAll("_", " "), end.message].filter(Boolean).join(": "));
      if (end.mode === "function" && end.result !== undefined && end.status === "succeeded") show("result", JSON.stringify(end.result, null, 2));
      const phases = Object.entries(end.phases_ms).map(([name, ms]) => `${name} ${ms} ms`);
      by("times").textContent = [...phases, end.warm ? "warm" : "cold"].join(" · ");
      showArtifacts(end.artifacts);
      busy(false);
    });
  }

  function showArtifacts(artifacts) {
    by("artifacts-part").hidden = !artifacts.length;
    by("artifacts").replaceChildren(...artifacts.map((file) => {
      const row = document.createElement("div");
      row.className = "artifact";
      const name = Object.assign(document.createElement("a"), { href: file.address, textContent: file.name });
      const size = Object.assign(document.createElement("span"), { className: "note", textContent: ` ${file.size}` });
      row.append(name, size);
      if (file.image) row.append(Object.assign(document.createElement("img"), { src: file.preview, alt: `Preview of ${file.name}` }));
      return row;
    }));
  }

  by("files").addEventListener("change", async ({ target }) => {
    keepFiles(await Promise.all([...target.files].map(async (file) => {
      const bytes = new Uint8Array(await file.arrayBuffer());
      let text = "";
      for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
      return { path: file.name, content_base64: btoa(text) };
    })));
    showCall();
  });
  form.addEventListener("submit", run);
  form.addEventListener("input", ({ target }) => { byHand.add(target); showCall(); });
  fields.runtime.addEventListener("change", chooseRuntime);
  fields.mode.addEventListener("change", showCall);
  fields.example.addEventListener("change", chooseExample);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.defaultPrevented) return;
    event.preventDefault();
    run();
  });
  if (data.start) {
    untouched = false;
    fields.runtime.value = data.start.runtime;
    fields.argv.value = data.start.argv.join("\n");
    fields.mode.value = data.start.mode;
    fields.arguments.value = data.start.arguments;
    fields.stdin.value = data.start.stdin;
    editor.setText(data.start.code);
  } else if (runtimes.python) {
    fields.runtime.value = "python";
  }
  chooseRuntime();
})();
