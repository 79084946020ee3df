/** What an INFO line says of the server: whether a server of NATS Streaming is built into it. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { readGreeting } from '../../../src/connection/greeting.js';

const plain = (info: object): unknown => readGreeting(JSON.stringify(info)).plain;

describe('the greeting of a NATS server', () => {
  it('shows by its commit, a newer version or JetStream that it runs by itself', () => {
    const headers = true;
    assert.deepEqual(plain({ version: '2.2.0', git_commit: 'abc1234', headers }), {
      version: '2.2.0',
      jetStream: false,
    });
    assert.deepEqual(plain({ version: '2.9.25', headers }), { version: '2.9.25', jetStream: false });
    assert.deepEqual(plain({ version: '2.10.0-beta.1', headers }), { version: '2.10.0', jetStream: false });
    assert.deepEqual(plain({ version: '3.0.0', headers }), { version: '3.0.0', jetStream: false });
    assert.deepEqual(plain({ version: '2.9.24', jetstream: true, headers }), { version: '2.9.24', jetStream: true });
  });

  it('shows nothing of that if it may be the one inside of NATS Streaming', () => {
    for (const version of ['2.9.24', '2.9.9', '2.7.4', '2.2.0'])
      assert.equal(plain({ version, headers: true }), undefined);
    assert.equal(plain({ version: '2.9.24', git_commit: '', jetstream: false, headers: true }), undefined);
  });

  it('is of no use if the server cannot tell that nobody listens', () => {
    assert.equal(plain({ version: '2.10.7', git_commit: 'abc1234' }), undefined);
    assert.equal(plain({ version: '2.1.9', git_commit: 'abc1234', headers: true }), undefined);
    assert.equal(plain({ version: 'x', git_commit: 'abc1234', headers: true }), undefined);
  });

  it('has a version that is fit to be shown, whatever comes', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), (version, git_commit) => {
        const read = plain({ version, git_commit, jetstream: true, headers: true }) as { version: string } | undefined;
        assert.ok(read === undefined || /^\d+\.\d+\.\d+$/.test(read.version));
      }),
    );
  });
});
