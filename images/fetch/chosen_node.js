// Loaded into npm before it starts: npm asks its own Node.js for the version, processor and system that packages are
// chosen for. Here they are those of the chosen image.
const chosen = JSON.parse(process.env.CHOSEN_NODE);
for (const name of ["version", "arch", "platform"]) Object.defineProperty(process, name, { value: chosen[name] });
