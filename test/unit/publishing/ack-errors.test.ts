import assert from 'node:assert/strict';
import { explainRefusal, maybeStored, refusal } from '../../../src/publishing/ack-errors.js';

/** The texts of nats-streaming-server 0.25.6, and whether a message so answered may be stored. */
const TEXTS = [
  ['stan: invalid publish request', 'unregistered', false],
  ['node is not the leader', 'leaderless', false],
  ['leadership lost while committing log', 'leaderless', true],
  ['raft is already shutdown', 'leaderless', true],
  ['stan: channel is being deleted', 'leaderless', false],
  ['too many channels', 'refused', false],
  ['rejecting channel "X" because channel "x" alreay exists (different cases not allowed)', 'refused', false],
  ['something nobody has seen yet', 'refused', false],
] as const;

describe('Errors of acks', () => {
  for (const [text, kind, stored] of TEXTS) {
    it(`"${text}" means ${kind}${stored ? ', perhaps stored' : ''}`, () => {
      assert.equal(refusal(text), kind);
      assert.equal(maybeStored(text), stored);
    });
  }

  it('are explained with channel, tries, the server’s words and what to do', () => {
    assert.match(
      explainRefusal('foo', 'too many channels', 1),
      /'foo' \(sent 1 time\): "too many channels"\. Raise max_channels/,
    );
    assert.match(explainRefusal('foo', TEXTS[6][0], 4), /sent 4 times.*exact spelling/);
    assert.match(explainRefusal('foo', 'other', 4), /server's log/);
  });
});
