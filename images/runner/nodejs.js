// The Node.js worker, which becomes the program. See docs/runner-protocol.md, "Writing a worker".
'use strict';

const fs = require('fs');
const path = require('path');
const Module = require('module');

const WORKSPACE = '/workspace';
const LINGER_MS = 1000;

function readExactly(size) {
  const buffer = Buffer.alloc(size);
  for (let offset = 0; offset < size; ) {
    const count = fs.readSync(3, buffer, offset, size - offset, null);
    if (count === 0) process.exit(0); // no job: the sandbox is being removed
    offset += count;
  }
  return buffer;
}

function writeAll(fd, buffer) {
  for (let offset = 0; offset < buffer.length; ) offset += fs.writeSync(fd, buffer, offset);
}

// For languages other than JavaScript, worker.json names a module that turns a file's text into JavaScript.
const transpile = process.argv[2] ? require(process.argv[2]) : (code) => code;

function fail(prefix, error) {
  const text = error && error.stack ? error.stack : String(error);
  process.stderr.write(`${prefix}${text}\n`);
  process.exit(1);
}

// Call the functions that a run needs, so that V8 compiles them before the job arrives.
function rehearse() {
  const file = '/tmp/.rehearsal.js';
  fs.writeFileSync(file, '');
  fs.unlinkSync(file);
  const program = new Module(file, null);
  program.paths = Module._nodeModulePaths(WORKSPACE);
  program._compile(transpile('function main() {}\n;module.exports = { main };', file), file);
  JSON.parse(Buffer.from(JSON.stringify([program.exports.main({})])).toString());
  clearTimeout(setTimeout(() => {}, LINGER_MS).unref());
}

function load(job) {
  for (const { path: name, base64 } of job.files || []) {
    const target = path.join(WORKSPACE, name);
    fs.mkdirSync(path.dirname(target), { recursive: true });
    fs.writeFileSync(target, Buffer.from(base64, 'base64'));
  }
  const file = path.join(WORKSPACE, job.source_file);
  const folder = path.dirname(file);
  if (folder !== WORKSPACE) fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(file, job.code);
  process.argv = [process.argv[0], file, ...job.argv];
  Object.assign(process.env, job.environment);
  const script = job.mode === 'script';
  const program = new Module(script ? '.' : file, null);
  program.filename = file;
  program.paths = Module._nodeModulePaths(folder);
  if (script) process.mainModule = require.main = program;
  // A top-level `main` takes precedence over anything the module exports.
  const tail = script ? '' : "\n\n;typeof main === 'undefined' || (module.exports = { main });";
  program._compile(transpile(job.code, file) + tail, file);
  program.loaded = true;
  return program.exports;
}

function findMain(exported) {
  const main = typeof exported === 'function' ? exported : exported && exported.main;
  if (typeof main === 'function') return main;
  process.stderr.write('Error: main() is not defined: the program must define or export a function named main.\n');
  return process.exit(1);
}

function sendResult(value) {
  if (value === undefined) {
    process.stderr.write('Error: main() must return a value. Use null for an empty result.\n');
    process.exit(1);
  }
  let text;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    fail('Error: what main() returned is not JSON: ', error);
  }
  const result = Buffer.from(text === undefined ? 'null' : text);
  const head = Buffer.alloc(5);
  head.write('R');
  head.writeUInt32BE(result.length, 1);
  writeAll(4, Buffer.concat([head, result]));
  // Tearing down a V8 isolate takes longer than most runs: report "done" and wait to be killed with the sandbox.
  process.once('beforeExit', (code) => {
    process.emit('exit', code);
    if (code !== 0) return;
    writeAll(4, Buffer.from('D'));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LINGER_MS);
  });
  // The run ends when main() ends: pending work on the event loop gets LINGER_MS, not the whole time limit.
  setTimeout(() => process.exit(0), LINGER_MS).unref();
}

function runFunction(job) {
  const main = findMain(load(job));
  let value;
  try {
    value = main(job.arguments || {});
  } catch (error) {
    fail('Error when executing main: ', error);
  }
  if (value && typeof value.then === 'function') {
    value.then(sendResult, (error) => fail('Error in async main function: ', error));
  } else {
    sendResult(value);
  }
}

// Blocking streams: otherwise process.exit() drops output that does not fit into the pipe, and fs.writeSync() fails
// with EAGAIN.
for (const stream of [process.stdout, process.stderr]) stream._handle.setBlocking(true);
if (process.env.HTTPS_PROXY) require('/opt/sandbox/egress.js');
for (const name of JSON.parse(process.env.SANDBOX_PRELOAD)) {
  require(require.resolve(name, { paths: [WORKSPACE] }));
}
delete process.env.SANDBOX_PRELOAD;
rehearse();
// Report "ready" from within the event loop, so that its start-up cost is paid before the job arrives.
setImmediate(() => {
  writeAll(4, Buffer.from('+'));
  const job = JSON.parse(readExactly(readExactly(4).readUInt32BE(0)).toString());
  if (job.mode === 'script') load(job);
  else runFunction(job);
});
