import assert from 'node:assert/strict';
import { InvalidArgumentError } from '../../src/errors.js';

/** The InvalidArgumentError that `call` throws, for `argument`, with every one of `words` in its message. */
export function refused(call: () => unknown, argument: string, ...words: (string | RegExp)[]): InvalidArgumentError {
  let error: unknown;
  try {
    const value: unknown = call();
    assert.fail(`accepted, and returned ${JSON.stringify(value)}`);
  } catch (thrown) {
    error = thrown;
  }
  assert.ok(error instanceof InvalidArgumentError, `not an InvalidArgumentError: ${String(error)}`);
  assert.equal(error.code, 'ERR_STAN_INVALID_ARGUMENT');
  assert.equal(error.argument, argument, error.message);
  for (const word of words) {
    if (typeof word === 'string') assert.ok(error.message.includes(word), `'${word}' is not in: ${error.message}`);
    else assert.match(error.message, word);
  }
  // One line, whatever was passed: it ends up in logs.
  assert.match(error.message, /^[^\p{Cc}]+$/u);
  return error;
}
