// The Node.js worker: an interpreter that takes its job before it runs its main program.
//
// The runner starts it as any shell would, `node /workspace/main.js`, with this file preloaded, and here it waits. What
// follows is Node.js's own work, from the choice of the module system to the order in which everything ends. See
// docs/runner-protocol.md, "Writing a worker".
//
// Nothing here is a barrier: once the program's code runs, it controls this process.
'use strict';

const fs = require('fs');
const Module = require('module');
const path = require('path');
const { pathToFileURL } = require('url');
const { inspect } = require('util');
const { compileFunction } = require('vm');
const { isMainThread } = require('worker_threads');

const WORKSPACE = '/workspace';
const RESULT = '/run/sandbox/result';
const EXIT = '/run/sandbox/exit';
// What the source of a function leaves for its caller. Deleted before main is called.
const KEY = 'Symbol.for("sandbox.program")';
const TAIL = `\n;globalThis[${KEY}].main = typeof main === "undefined" ? undefined : main;`;
// Stands for the entry point where that is an ES module, so that import.meta.main is false in the program.
const CALLER = `${pathToFileURL(__filename).href}?caller`;

// The program may replace these, and the worker's end must not depend on it.
const { openSync, renameSync, writeFileSync, writeSync } = fs;
const { O_NONBLOCK, O_WRONLY } = fs.constants;
const { pid } = process;
const kill = process.kill.bind(process);

function readExactly(size) {
  const buffer = Buffer.alloc(size);
  for (let offset = 0; offset < size; ) {
    const count = fs.readSync(3, buffer, offset, size - offset, null);
    if (count === 0) process.exit(0); // no job: the sandbox is being removed
    offset += count;
  }
  return buffer;
}

function say(text) {
  const buffer = Buffer.from(text);
  for (let offset = 0; offset < buffer.length; ) offset += writeSync(2, buffer, offset);
}

function fail(prefix, error) {
  let text = typeof error === 'object' && error !== null ? inspect(error) : String(error);
  text = text.split('\n').filter((line) => !line.includes(`(${__dirname}/`) && !line.includes(`at ${__dirname}/`));
  say(`${prefix}${text.join('\n')}\n`);
  process.exit(1);
}

// -- before the job ---------------------------------------------------------------------------------------------------

// The options of this process must not reach its children, and the program sees only its own modules.
function leaveNoTrace() {
  process.execArgv.length = 0;
  Object.defineProperty(process, '_preload_modules', { value: [], configurable: true, enumerable: true });
  for (const file of Object.keys(require.cache)) if (file.startsWith(`${__dirname}/`)) delete require.cache[file];
}

// V8 compiles Node.js's own functions on their first call. Call them now, before the job arrives.
function rehearse() {
  const folder = fs.mkdtempSync('/tmp/.rehearsal-');
  const suffix = path.extname(process.argv[1]); // .js or .ts
  const files = [suffix, `.m${suffix.slice(1)}`].map((end) => path.join(folder, `main${end}`));
  for (const file of files) {
    writeFileSync(file, file.endsWith(`main${suffix}`) ? 'function main() {}' : 'export function main() {}');
    const program = intercept(pathToFileURL(file).href);
    require(file);
    program.release();
    delete require.cache[file];
  }
  const { Writable } = require('stream');
  const nowhere = new Writable({ write() {} }); // never done: that would leave a tick to the program
  new console.Console(nowhere).log('%s', files[0], { a: [1] }, 1);
  JSON.parse(Buffer.from(JSON.stringify([{}])).toString());
  fs.rmSync(folder, { recursive: true });
}

function waitForJob() {
  // Node.js remembers that the folder in which it starts has no package.json, so worker.json starts it in another one.
  process.chdir(WORKSPACE);
  // Otherwise process.exit() drops output that did not fit into the pipe, and fs.writeSync() fails with EAGAIN.
  for (const stream of [process.stdout, process.stderr]) stream._handle?.setBlocking?.(true);
  for (const name of JSON.parse(process.env.SANDBOX_PRELOAD)) require(name);
  delete process.env.SANDBOX_PRELOAD;
  // Options of the job's own may say what modules are loaded, and how. They come first.
  if (!process.env.NODE_OPTIONS) {
    try {
      rehearse();
    } catch {
      // A seccomp profile forbids one of its calls.
    }
  }
  writeSync(4, '+');
  const job = JSON.parse(readExactly(readExactly(4).readUInt32BE(0)).toString());
  fs.closeSync(3);
  fs.closeSync(4);
  return job;
}

// -- the program ------------------------------------------------------------------------------------------------------

function writeFile(name, content) {
  const target = path.join(WORKSPACE, name);
  const folder = path.dirname(target);
  if (folder !== WORKSPACE) fs.mkdirSync(folder, { recursive: true });
  writeFileSync(target, content);
  return target;
}

function prepare(job) {
  for (const { path: name, base64 } of job.files || []) writeFile(name, Buffer.from(base64, 'base64'));
  const file = writeFile(job.source_file, job.code);
  Object.assign(process.env, job.environment);
  const planned = process.argv[1];
  process.argv = [process.argv[0], file, ...job.argv];
  if (file !== planned) runInstead(file);
  if (job.mode === 'function') callAfterwards(file, job.arguments);
  endFast();
}

// Node.js calls runMain after the preloaded modules. A bound function leaves no frame in the stacks of the program.
function runInstead(file) {
  const { runMain } = Module;
  Object.defineProperty(Module, 'runMain', {
    configurable: true,
    enumerable: true,
    get() {
      Object.defineProperty(Module, 'runMain', { value: runMain, writable: true });
      return runMain.bind(Module, file);
    },
  });
}

// Let the program hand over its main, exported or not. The tail works in both module systems, runs once, and leaves the
// file and its lines as they are. The program is not the main module: a program that ends with
// `if (require.main === module) main()` calls main for the command line only.
function intercept(url) {
  const program = { main: undefined, module: undefined, isESM: false, release: undefined };
  const key = Symbol.for('sandbox.program');
  Object.defineProperty(globalThis, key, { value: program, configurable: true });
  const hooks = Module.registerHooks({
    resolve(specifier, context, next) {
      // Only the entry point has no parent.
      if (specifier !== url || context.parentURL !== undefined) return next(specifier, context);
      program.isESM = true;
      return { url: CALLER, format: 'module', shortCircuit: true };
    },
    load(each, context, next) {
      if (each === CALLER) {
        const source = `import * as program from ${JSON.stringify(url)};\nglobalThis[${KEY}].call(program);`;
        return { format: 'module', source, shortCircuit: true };
      }
      const loaded = next(each, context);
      if (each !== url) return loaded;
      if (context.conditions.includes('require') && process.mainModule) {
        program.module = process.mainModule;
        program.module.id = program.module.filename;
        process.mainModule = module;
      }
      return { ...loaded, source: withTail(String(loaded.source), context) };
    },
  });
  program.release = () => {
    delete globalThis[key];
    hooks.deregister();
  };
  return program;
}

// Without the tail if the source is no script: either Node.js finds that it is an ES module and loads it again, or it
// reports a syntax error, which should not show the tail.
function withTail(source, context) {
  if (context.conditions.includes('require') && !isScript(source)) return source;
  return source + TAIL;
}

function isScript(source) {
  try {
    compileFunction(source.replace(/^#!.*/, ''), ['exports', 'require', 'module', '__filename', '__dirname']);
    return true;
  } catch {
    return false;
  }
}

function callAfterwards(file, parameters) {
  const program = intercept(pathToFileURL(file).href);
  const call = (exported) => {
    program.release();
    callMain([program.main, exported, exported?.main, exported?.default, exported?.default?.main], parameters);
  };
  program.call = call;
  // The first thing after the entry point.
  process.nextTick(() => {
    if (!program.isESM && program.module?.loaded) call(program.module.exports);
  });
}

function callMain(candidates, parameters) {
  const main = candidates.find((each) => typeof each === 'function');
  if (!main) {
    say('Error: main() is not defined: the program must define or export a function named main.\n');
    process.exit(1);
  }
  let value;
  try {
    value = main(parameters || {});
  } catch (error) {
    fail('Error when executing main: ', error);
  }
  if (typeof value?.then !== 'function') sendResult(value);
  else value.then(sendResult, (error) => fail('Error in async main function: ', error));
}

function sendResult(value) {
  if (value === undefined) {
    say('Error: main() must return a value. Use null for an empty result.\n');
    process.exit(1);
  }
  let text;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    say(`${require('./not_json.js')(value, error)}\n`);
    process.exit(1);
  }
  // A result that is there is whole.
  writeFileSync(`${RESULT}.part`, text === undefined ? 'null' : text);
  renameSync(`${RESULT}.part`, RESULT);
}

// -- the end ----------------------------------------------------------------------------------------------------------

// Shutting down an isolate takes longer than most runs. End the process after the last thing that the program notices.
function endFast() {
  // These write or close files of the program while the isolate shuts down.
  const needsShutdown = () =>
    process.moduleLoadList.includes('NativeModule sqlite') ||
    Object.keys(Module._cache).some((file) => file.endsWith('.node'));
  if (process.env.NODE_OPTIONS || process.env.NODE_V8_COVERAGE) return;
  const end = (code) => {
    if (needsShutdown()) return;
    try {
      const fd = openSync(EXIT, O_WRONLY | O_NONBLOCK);
      if (writeSync(fd, Buffer.of(code & 0xff)) === 1) kill(pid, 'SIGSTOP');
    } catch {
      // Then the process ends as it would anywhere.
    }
  };
  const { reallyExit } = process;
  Object.defineProperty(process, 'reallyExit', {
    configurable: true,
    writable: true,
    value(code) {
      end(code || 0);
      reallyExit.call(process, code);
    },
  });
  // Without process.exit(), Node.js only emits the event. Its last listener must be ours, so add it when Node.js asks
  // for emit. An uncaught error has another code, and Node.js prints it afterwards. A program that has replaced emit may do
  // something afterwards, too.
  const { emit, on } = process;
  let asked = false;
  const last = (code) => code === 0 && !process.exitCode && end(0);
  Object.defineProperty(process, 'emit', {
    configurable: true,
    get() {
      if (process._exiting && !asked) {
        asked = true;
        on.call(process, 'exit', last);
      }
      return emit;
    },
    set(value) {
      Object.defineProperty(process, 'emit', { value, writable: true, enumerable: true });
    },
  });
}

if (process.env.HTTPS_PROXY) require('./egress.js');
if (isMainThread && 'SANDBOX_PRELOAD' in process.env) {
  const job = waitForJob();
  leaveNoTrace();
  prepare(job);
} else {
  leaveNoTrace();
}
