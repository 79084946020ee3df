/** `doctor` at a server without NATS Streaming. It is real where Go has the sources to build one. */
import assert from 'node:assert/strict';
import { runCommand } from '../support/command.js';
import { buildPlainNats, PlainNats } from '../support/plain-nats.js';

describe('doctor at a plain NATS server', function () {
  this.timeout(300_000);

  before(async function () {
    if ((await buildPlainNats()) !== undefined) this.skip();
  });

  for (const [args, words] of [
    [[], /✗ it is a plain NATS server, version 2\.9\.24: no/],
    [['-js'], /version 2\.9\.24, with JetStream: no[\s\S]*JetStream is another\s+protocol/],
  ] as [string[], RegExp][]) {
    it(`${args.join(' ')}: it is named, with what to do`, async () => {
      await using nats = await PlainNats.start(...args);
      const { code, stdout } = await runCommand(['doctor', '-s', nats.url, '--timeout', '500ms']);
      assert.equal(code, 1, stdout);
      assert.match(stdout.replaceAll(/\s+/g, ' '), words);
      assert.doesNotMatch(stdout, /more than half/);
    });
  }
});
