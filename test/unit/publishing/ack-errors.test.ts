import assert from 'node:assert/strict';
import { explainRefusal } from '../../../src/publishing/ack-errors.js';

describe('Errors of acks', () => {
  it('are explained with channel, tries, the server’s words and what to do', () => {
    assert.match(
      explainRefusal('foo', 'too many channels', 1),
      /'foo' \(sent 1 time\): "too many channels"\. Raise max_channels/,
    );
    const otherCase = 'rejecting channel "X" because channel "x" alreay exists (different cases not allowed)';
    assert.match(explainRefusal('foo', otherCase, 4), /sent 4 times.*exact spelling/);
    assert.match(explainRefusal('foo', 'stan: invalid publish request', 1), /client ID/);
    assert.match(explainRefusal('foo', 'other', 4), /server's log/);
    assert.match(explainRefusal('foo', 'other', 0), /\(never sent: one before it was refused.*\): "other"/);
    assert.match(
      explainRefusal('foo', 'too many channels', 30, 10_400),
      /sent 30 times.*all for 10 s.*deleted.*max_channels/,
    );
  });
});
