// `node build.mjs FOLDER` empties FOLDER and writes the browser files made from npm packages: editor.js and alpine.js, each
// also compressed, packages.json (name, version, license and text of each package in them) and licenses/NAME.txt.
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
if (!process.argv[2]) throw new Error("usage: node build.mjs FOLDER");
const folder = resolve(process.argv[2]);
process.chdir(here);

const manifest = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));

async function bundleEditor(target) {
  const { metafile } = await build({
    entryPoints: ["editor.js"], outfile: target, bundle: true, minify: true, format: "iife", globalName: "codeEditor",
    target: ["es2020"], charset: "utf8", legalComments: "none", metafile: true, logLevel: "warning",
  });
  const [{ inputs }] = Object.values(metafile.outputs);
  const used = Object.entries(inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  return used.flatMap(([path]) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1] ?? []);
}

// The published file includes other packages, each under a comment with its name and version.
function copyAlpine(target) {
  const source = "node_modules/@alpinejs/csp/dist/cdn.min.js";
  copyFileSync(source, target);
  const inside = [...readFileSync(source, "utf8").matchAll(/^ *\* (@[\w-]+\/[\w-]+) v([\d.]+)$/gm)];
  if (!inside.length) throw new Error(`${source} names no included package: check which licences it needs`);
  for (const [, name, version] of inside) {
    if (manifest(name).version !== version) throw new Error(`package.json must override ${name} with ${version}`);
  }
  return ["@alpinejs/csp", ...inside.map(([, name]) => name)];
}

function describe(name) {
  const { version, license } = manifest(name);
  const file = readdirSync(`node_modules/${name}`).find((each) => /^(licen[cs]e|copying)/i.test(each));
  // licenses/ has the texts from the repositories of packages that are published without one.
  const path = file ? `node_modules/${name}/${file}` : `licenses/${name}.txt`;
  if (!license || !existsSync(path)) throw new Error(`${name}: no licence found`);
  return { name, version, license, text: readFileSync(path, "utf8").trim() };
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(join(folder, "licenses"), { recursive: true });
const names = [...await bundleEditor(join(folder, "editor.js")), ...copyAlpine(join(folder, "alpine.js"))];
// WhiteNoise serves the compressed files to browsers that accept them.
for (const name of ["editor.js", "alpine.js"]) {
  writeFileSync(join(folder, `${name}.gz`), gzipSync(readFileSync(join(folder, name)), { level: 9 }));
}
const packages = [...new Set(names)].sort().map(describe);
for (const { name, version, license, text } of packages) {
  writeFileSync(join(folder, "licenses", `${name.replace("/", "+")}.txt`), `${name} ${version} (${license})\n\n${text}\n`);
}
writeFileSync(join(folder, "packages.json"), JSON.stringify(packages, null, 1));
