// Makes Node.js run TypeScript as written for tsc: types are removed, not checked, and line numbers stay the same.
//
// Node.js removes types by itself, but refuses enums and parameter properties, and keeps imports of which only types
// are used. It goes on choosing the module system.
'use strict';

const fs = require('fs');
const Module = require('module');
const path = require('path');
const { fileURLToPath } = require('url');
const { compileFunction } = require('vm');

const TYPESCRIPT = /\.[cm]?ts$/;
// What only CommonJS has. A file may use it beside import and export, as it may with tsc.
const COMMONJS = /\b(require|module|exports|__filename|__dirname)\b/;
const OWN_FRAME = new RegExp(`\\n    at [^\\n]*${__filename}[^\\n]*`, 'g');
const SCOPE = ['exports', 'require', 'module', '__filename', '__dirname'];

function isScript(code) {
  try {
    compileFunction(code.replace(/^#!.*/, ''), SCOPE);
    return true;
  } catch {
    return false;
  }
}

// Return JavaScript in either module system; `forced` is the one that the name or package.json demands, if any.
function translate(code, file, forced) {
  const { transform } = require('sucrase');
  const into = (...more) => {
    const options = { transforms: ['typescript', ...more], filePath: file, preserveDynamicImport: true };
    return needsCompiler(code) ? compile(code, file, more.length > 0) : transform(code, options).code;
  };
  if (forced !== 'commonjs') {
    const source = into();
    if (forced === 'module') return { format: 'module', source };
    const mixed = !isScript(source) && COMMONJS.test(source);
    const script = mixed ? into('imports') : source;
    if (!isScript(script)) return { format: 'module', source };
    return { format: 'commonjs', source: script };
  }
  return { format: 'commonjs', source: into('imports') };
}

// Whether the file has decorators or namespaces: sucrase removes them.
function needsCompiler(code) {
  if (!/@|\bnamespace\b|\bmodule\b/.test(code)) return false;
  const { parse } = require('sucrase/dist/parser');
  const { TokenType } = require('sucrase/dist/parser/tokenizer/types');
  const { tokens } = parse(code, false, true, false);
  return tokens.some((token, at) => {
    if (token.type === TokenType.at) return true;
    if (token.type !== TokenType.name || tokens[at + 1]?.type !== TokenType.name) return false;
    const word = code.slice(token.start, token.end);
    const before = tokens[at - 1];
    const declared = before && code.slice(before.start, before.end) === 'declare';
    return (word === 'namespace' || word === 'module') && !declared;
  });
}

// TypeScript's own compiler, which takes far longer to load.
function compile(code, file, commonjs) {
  const { ModuleKind, ScriptTarget, transpileModule } = require('typescript');
  const { outputText, diagnostics } = transpileModule(code, {
    fileName: file,
    reportDiagnostics: true,
    compilerOptions: {
      target: ScriptTarget.ES2022,
      module: commonjs ? ModuleKind.CommonJS : ModuleKind.ESNext,
      esModuleInterop: true,
      experimentalDecorators: asksForOldDecorators(path.dirname(file)),
      inlineSourceMap: true,
    },
  });
  for (const { messageText, start } of diagnostics) {
    const lines = code.slice(0, start).split('\n');
    throw new SyntaxError(`${messageText} (${lines.length}:${lines.at(-1).length + 1})`);
  }
  Module.setSourceMapsSupport(true);
  return outputText;
}

function asksForOldDecorators(folder) {
  for (let at = folder; ; at = path.dirname(at)) {
    try {
      return /"experimentalDecorators"\s*:\s*true/.test(fs.readFileSync(path.join(at, 'tsconfig.json'), 'utf8'));
    } catch {
      if (at === path.dirname(at)) return false;
    }
  }
}

function forcedFormat(url, format) {
  if (/\.mts$/.test(url) || format === 'module-typescript') return 'module';
  return /\.cts$/.test(url) || format === 'commonjs-typescript' ? 'commonjs' : undefined;
}

function load(url, context, next) {
  const address = url.split(/[?#]/)[0];
  if (!address.startsWith('file:')) return next(url, context);
  const file = fileURLToPath(address);
  if (file.includes('/node_modules/')) return next(url, context);
  if (file.endsWith('.json') && context.conditions.includes('import') && !context.importAttributes?.type) {
    // tsc asks for no attribute.
    return { format: 'module', source: `export default ${fs.readFileSync(file, 'utf8')};`, shortCircuit: true };
  }
  if (!TYPESCRIPT.test(address)) return next(url, context);
  const code = fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, '');
  try {
    return { ...translate(code, file, forcedFormat(address, context.format)), shortCircuit: true };
  } catch (error) {
    // "Error transforming /workspace/main.ts: Unexpected token (1:13)"
    process.stderr.write(`${path.basename(file)}: ${error.message.replace(/^Error transforming \S+: /, '')}\n`);
    return process.exit(1);
  }
}

// Names without a suffix, or with that of the compiled file, as tsc has them.
function resolve(specifier, context, next) {
  try {
    return next(specifier, context);
  } catch (error) {
    error.stack = error.stack.replace(OWN_FRAME, '');
    if (!/^\.{0,2}\/|^file:/.test(specifier) || !/NOT_FOUND|DIR_IMPORT/.test(error.code)) throw error;
    const compiled = /\.([cm]?)js$/;
    const names = compiled.test(specifier)
      ? [specifier.replace(compiled, '.$1ts')]
      : ['.ts', '.js', '.json', '/index.ts', '/index.js'].map((rest) => specifier.replace(/\/$/, '') + rest);
    for (const name of names) {
      try {
        return next(name, context);
      } catch {
        // the next one
      }
    }
    throw error;
  }
}

Module.registerHooks({ resolve, load });
