// Says what npm must know about this Node.js, as one line of JSON.
const { version, arch, platform } = process;
console.log("FACTS node " + JSON.stringify({ version, arch, platform }));
