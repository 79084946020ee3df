/** The scripted peer, left to itself, is a server like any other: else the tests that use it would show nothing. */
import assert from 'node:assert/strict';
import { makeCertificates } from '../../../src/testing/certificates.js';
import { Clients, until, uniqueName } from '../../support/clients.js';
import { Peer } from '../../support/peer.js';

describe('the scripted peer', () => {
  const clients = new Clients();
  afterEach(() => clients.closeAll());

  for (const secure of [false, true]) {
    it(`serves ${secure ? 'with' : 'without'} TLS, twice`, async () => {
      const { ca, server } = makeCertificates();
      await using peer = await Peer.listen(secure ? { tls: server } : {});
      const stan = await clients.connect(secure ? peer.tlsUrl : peer.url, {
        clientId: uniqueName('me'),
        reconnect: { minTimeout: 1 },
        user: 'me',
        pass: 'secret',
        ...(secure && { tls: { ca } }),
      });
      const got: string[] = [];
      await stan.subscribe('a', (message) => void got.push(message.string()), { startAt: 'first' });
      await stan.publish('a', 'one');
      peer.hangUp();
      await stan.publish('a', 'two');
      await until(
        () => got.length === 2,
        () => got.join(),
      );
      assert.deepEqual(got, ['one', 'two']);
      assert.equal(stan.stats().reconnects, 1);
      assert.deepEqual(
        peer.connects.map(({ encrypted, line }) => [encrypted, line.includes('secret')]),
        [
          [secure, true],
          [secure, true],
        ],
      );
      assert.equal(peer.clearText.includes('secret'), !secure);
    });
  }
});
