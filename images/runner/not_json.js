// Explains why what main() returned is not JSON. Loaded only then.
'use strict';

const ATTEMPTS = 1_000_000; // values looked at before giving up
const PREFIX = 'Error: what main() returned is not JSON: ';
const NAME = /^[A-Za-z_$][\w$]*$/;

function explanation(value, error) {
  return PREFIX + (culprit(value) || (error instanceof Error ? error.message : String(error)));
}

// Return a sentence about the first part that JSON has no form for, or undefined.
function culprit(value) {
  const waiting = [{ path: 'result', value, above: undefined }];
  for (let attempt = 0; waiting.length && attempt < ATTEMPTS; attempt++) {
    const each = waiting.pop();
    if (typeof each.value === 'bigint') {
      return `${each.path} is a BigInt. Convert it with Number(), or with String() if it is large.`;
    }
    if (typeof each.value !== 'object' || each.value === null) continue;
    for (let up = each.above; up; up = up.above) {
      if (up.value === each.value) return `${each.path} is ${up.path} again, a circular reference. Leave it out.`;
    }
    waiting.push(...parts(each).reverse());
  }
  return undefined;
}

function parts(holder) {
  const { path, value } = holder;
  let plain = value;
  if (typeof value.toJSON === 'function') {
    try {
      plain = value.toJSON('');
    } catch {
      return []; // its own error says why
    }
    if (plain !== value) return [{ path, value: plain, above: holder }];
  }
  if (Array.isArray(plain)) return plain.map((part, at) => ({ path: `${path}[${at}]`, value: part, above: holder }));
  return Object.entries(plain).map(([name, part]) => ({
    path: NAME.test(name) ? `${path}.${name}` : `${path}[${JSON.stringify(name)}]`,
    value: part,
    above: holder,
  }));
}

module.exports = explanation;
