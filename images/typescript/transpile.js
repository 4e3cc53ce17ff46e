// Turns TypeScript into JavaScript: types are removed, not checked, and line numbers stay the same.
'use strict';

const fs = require('fs');
const Module = require('module');
const path = require('path');
const { transform } = require('sucrase');

function transpile(code, file) {
  try {
    return transform(code, { transforms: ['typescript', 'imports'], filePath: file }).code;
  } catch (error) {
    // sucrase says "Error transforming /workspace/main.ts: Unexpected token (1:13)".
    process.stderr.write(`${path.basename(file)}: ${error.message.replace(/^Error transforming \S+: /, '')}\n`);
    return process.exit(1);
  }
}

// Transpile the job's other files when the program requires them.
Module._extensions['.ts'] = (module, file) => module._compile(transpile(fs.readFileSync(file, 'utf8'), file), file);

module.exports = transpile;
