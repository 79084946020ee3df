/**
 * A server that answers the requests that end something with an error. Scripted, because a real one says "leadership lost" only in
 * the moment of an election, and to whom cannot be chosen.
 */
import assert from 'node:assert/strict';
import { SubscribeError } from '../../../src/index.js';
import { Clients, Recorder, rejection, uniqueName, until } from '../../support/clients.js';
import { encode, Peer, type PeerRequest } from '../../support/peer.js';

const LOST = 'leadership lost while committing log';

describe('a server that does not end what it is asked to end', function () {
  this.timeout(30_000);
  const clients = new Clients();
  afterEach(() => clients.closeAll());

  /** Answers the first requests of a kind with these errors. */
  const refusing = (step: 'unsubscribe' | 'subclose' | 'close', errors: string[]) => {
    const requests: PeerRequest[] = [];
    const kind = step === 'close' ? 'CloseResponse' : 'SubscriptionResponse';
    return {
      requests,
      hooks: {
        [step]: (request: PeerRequest, usual: () => Buffer): Buffer => {
          requests.push(request);
          const error = errors.shift();
          return error === undefined ? usual() : encode(kind, { error });
        },
      },
    };
  };

  for (const [step, end] of [
    ['unsubscribe', 'unsubscribe'],
    ['subclose', 'close'],
  ] as const) {
    it(`${end}() asks again, for the same subscription, until it is done`, async () => {
      const { hooks, requests } = refusing(step, [LOST, 'node is not the leader', 'nobody has seen this yet']);
      await using peer = await Peer.listen({ hooks });
      const stan = await clients.connect(peer.url, { clientId: uniqueName('me') });
      const subscription = await stan.subscribe('a', () => {}, { durableName: 'd' });
      await subscription[end]();
      await until(
        () => requests.length === 4,
        () => `asked ${requests.length} times`,
      );
      assert.equal(new Set(requests.map(({ fields }) => fields['inbox'])).size, 1);
      assert.equal(stan.stats().losses, 0);
    });

    it(`${end}() takes it for done when the channel is gone`, async () => {
      const { hooks, requests } = refusing(step, ['stan: unknown channel']);
      await using peer = await Peer.listen({ hooks });
      const stan = await clients.connect(peer.url, { clientId: uniqueName('me') });
      const subscription = await stan.subscribe('a', () => {}, { durableName: 'd' });
      await subscription[end]();
      assert.equal(requests.length, 1);
    });
  }

  it('unsubscribe() asks on the next session when this one ends', async () => {
    const { hooks, requests } = refusing('unsubscribe', [LOST]);
    await using peer = await Peer.listen({ hooks });
    const stan = await clients.connect(peer.url, { clientId: uniqueName('me'), reconnect: { minTimeout: 1 } });
    const subscription = await stan.subscribe('a', () => {}, { durableName: 'd' });
    const dropping = subscription.unsubscribe();
    await until(() => requests.length === 1, 'it was not asked for');
    peer.hangUp();
    await dropping;
    assert.equal(requests.length, 2);
    assert.equal(stan.stats().losses, 1);
  });

  it('unsubscribe() tells what the server says when that does not pass', async () => {
    const { hooks } = refusing('unsubscribe', new Array<string>(100).fill('no space left on device'));
    await using peer = await Peer.listen({ hooks });
    const stan = await clients.connect(peer.url, { clientId: uniqueName('me') });
    const recorder = new Recorder(stan);
    const subscription = await stan.subscribe('a', () => {}, { durableName: 'd' });
    await rejection(subscription.unsubscribe(), SubscribeError, 'no space left on device', 'unsubscribe() again');
    assert.equal(recorder.count('connection_lost'), 0);
  });

  it('unsubscribe() of a client that the server does not know any more asks as the new one', async () => {
    const { hooks, requests } = refusing('unsubscribe', ['stan: unknown clientID']);
    await using peer = await Peer.listen({ hooks });
    const stan = await clients.connect(peer.url, { clientId: uniqueName('me'), reconnect: { minTimeout: 1 } });
    const recorder = new Recorder(stan);
    const subscription = await stan.subscribe('a', () => {}, { durableName: 'd' });
    await subscription.unsubscribe();
    assert.equal(requests.length, 2);
    assert.deepEqual(
      recorder.of('connection_lost').map(({ reason }) => reason),
      ['replaced'],
    );
  });

  it('close() of the client asks again, so that its ID is free', async () => {
    const { hooks, requests } = refusing('close', [LOST, LOST]);
    await using peer = await Peer.listen({ hooks });
    const stan = await clients.connect(peer.url, { clientId: uniqueName('me') });
    await stan.close();
    assert.equal(requests.length, 3);
  });

  it('close() of the client is over all the same, and does not ask for what is gone', async () => {
    for (const [errors, times] of [
      [['stan: unknown clientID'], 1],
      [new Array<string>(100).fill(LOST), undefined],
    ] as const) {
      const { hooks, requests } = refusing('close', [...errors]);
      await using peer = await Peer.listen({ hooks });
      const stan = await clients.connect(peer.url, { clientId: uniqueName('me') });
      await stan.close({ timeout: 1 });
      assert.equal(stan.state, 'closed');
      if (times !== undefined) assert.equal(requests.length, times);
    }
  });
});
