import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  complaint,
  endRefusal,
  isIdTaken,
  isUnknownClient,
  maybeStored,
  publishRefusal,
  refusalIsAbout,
  subscribeRefusal,
} from '../../../src/connection/server-texts.js';

describe('what servers say', () => {
  describe('in an -ERR line', () => {
    const known: [string, string][] = [
      ['Authorization Violation', 'credentials'],
      ['User Authentication Expired', 'credentials'],
      ['Authentication Timeout', 'passing'],
      ['Stale Connection', 'passing'],
      ['maximum connections exceeded', 'passing'],
      ['maximum subscriptions exceeded', 'subscriptions'],
      ['maximum control line exceeded', 'control-line'],
      ['Maximum Payload Violation', 'payload'],
      // Nearly what is known, and a text that only speaks of it.
      ['Authorization Violation, perhaps', 'unknown'],
      ['the authorization service is starting', 'unknown'],
      ['Parser Error', 'unknown'],
      ['', 'unknown'],
    ];
    for (const [text, kind] of known) it(`'${text}' is ${kind}`, () => assert.equal(complaint(text).kind, kind));

    const permissions: [string, string | undefined][] = [
      ['Permissions Violation for Publish to "_STAN.pub.c.a"', '_STAN.pub.c.a'],
      ['Permissions Violation for Subscription to "_INBOX.x"', '_INBOX.x'],
      ['Permissions Violation for Subscription to "_INBOX.x" (sid "4")', '_INBOX.x'],
      ['Permissions Violation for Publish with Reply of "_INBOX.x"', '_INBOX.x'],
      ['Permissions Violation for Account', undefined],
    ];
    for (const [text, subject] of permissions) {
      it(`'${text}' forbids ${subject ?? 'something'}`, () =>
        assert.deepEqual(complaint(text), { kind: 'permission', subject }));
    }
  });

  describe('to a connect request', () => {
    it('that the ID is taken is one text', () => {
      assert.ok(isIdTaken('stan: clientID already registered'));
      assert.ok(!isIdTaken('stan: clientID already registered, perhaps'));
    });
  });

  describe('to a publish', () => {
    it('a refusal may say which channel is meant', () => {
      const named = (channel: string): string =>
        `rejecting channel ${channel} because channel "x" alreay exists (different cases not allowed)`;
      assert.equal(refusalIsAbout(named('"X"'), 'X'), 'this');
      assert.equal(refusalIsAbout(named('"X.y"'), 'X'), 'another');
      assert.equal(refusalIsAbout(named('"X"'), 'X.y'), 'another');
      assert.equal(refusalIsAbout(named('"a\\"b\\\\c"'), 'a"b\\c'), 'this');
      assert.equal(refusalIsAbout('too many channels', 'X'), undefined);
    });

    /** And whether a message so answered may be stored. */
    const texts: [string, ReturnType<typeof publishRefusal>, boolean][] = [
      ['stan: invalid publish request', 'unregistered', false],
      ['node is not the leader', 'leaderless', false],
      ['leadership lost while committing log', 'leaderless', true],
      ['raft is already shutdown', 'leaderless', true],
      ['stan: channel is being deleted', 'leaderless', false],
      ['too many channels', 'refused', false],
      ['rejecting channel "X" because channel "x" alreay exists (different cases not allowed)', 'refused', false],
      ['something nobody has seen yet', 'refused', false],
    ];
    for (const [text, kind, stored] of texts) {
      it(`"${text}" means ${kind}${stored ? ', perhaps stored' : ''}`, () => {
        assert.equal(publishRefusal(text), kind);
        assert.equal(maybeStored(text), stored);
      });
    }
  });

  describe('to a subscribe request', () => {
    const texts: [string, ReturnType<typeof subscribeRefusal>][] = [
      ['stan: unknown clientID', 'unregistered'],
      ['client has been replaced or is no longer registered', 'unregistered'],
      ['stan: duplicate durable registration', 'duplicate'],
      ['node is not the leader', 'passing'],
      ['leadership lost while committing log', 'passing'],
      ['raft is already shutdown', 'passing'],
      ['timed out enqueuing operation', 'passing'],
      ['stan: channel is being deleted', 'passing'],
      ['stan: invalid subject', 'final'],
      ['too many subscriptions per channel', 'final'],
      ['stan: invalid subscription request', 'final'],
      ['something nobody has seen yet', 'unknown'],
    ];
    for (const [text, refusal] of texts) {
      it(`'${text}' is ${refusal}`, () => assert.equal(subscribeRefusal(text), refusal));
    }
  });

  describe('to an unsubscribe request, and to one to close a subscription', () => {
    /** All that server.go, clustering.go and hashicorp/raft answer with. */
    const texts: [string, ReturnType<typeof endRefusal>][] = [
      ['stan: unknown channel', 'gone'],
      ['stan: invalid subscription', 'unknown-subscription'],
      ['stan: unknown clientID', 'unregistered'],
      ['node is not the leader', 'passing'],
      ['leadership lost while committing log', 'passing'],
      ['leadership transfer in progress', 'passing'],
      ['raft is already shutdown', 'passing'],
      ['timed out enqueuing operation', 'passing'],
      ['snapshot restored while committing log', 'passing'],
      ['stan: invalid unsubscribe request', 'unknown'],
      ['write /data/subs.dat: no space left on device', 'unknown'],
      ['something nobody has seen yet', 'unknown'],
    ];
    for (const [text, refusal] of texts) {
      it(`'${text}' is ${refusal}`, () => assert.equal(endRefusal(text), refusal));
    }

    it('only these three say that the subscription is not there', () => {
      const known = new Set(['stan: unknown channel', 'stan: invalid subscription', 'stan: unknown clientID']);
      fc.assert(
        fc.property(fc.oneof(fc.string(), fc.constantFrom(...texts.map(([text]) => text))), (text) => {
          const refusal = endRefusal(text);
          assert.equal(refusal === 'passing' || refusal === 'unknown', !known.has(text));
        }),
      );
    });
  });

  it('to a close request of a client: only an unknown client is none', () => {
    assert.equal(isUnknownClient('stan: unknown clientID'), true);
    assert.equal(isUnknownClient('leadership lost while committing log'), false);
    assert.equal(isUnknownClient('stan: invalid close request'), false);
  });
});
