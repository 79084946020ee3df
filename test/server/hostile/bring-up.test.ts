/**
 * The client is closed while a session is brought up to date. By script: no real server keeps a client just there, and what
 * is to be seen happens within one turn of the event loop.
 */
import assert from 'node:assert/strict';
import { makeClock } from '../../../src/clock/clock.js';
import type { Session } from '../../../src/connection/protocol.js';
import type { StanSession } from '../../../src/connection/session.js';
import { NatsGateway } from '../../../src/connection/nats-gateway.js';
import { Supervisor, type SupervisorEvents } from '../../../src/connection/supervisor.js';
import { ClosedError } from '../../../src/errors.js';
import { resolveConnectOptions } from '../../../src/options.js';
import { until } from '../../support/clients.js';
import { idleParticipants } from '../../support/participants.js';
import { Peer } from '../../support/peer.js';

const NOTHING: SupervisorEvents = {
  state: () => {},
  connecting: () => {},
  session: () => {},
  connected: () => {},
  suspected: () => {},
  lost: () => Promise.resolve('reconnect'),
  reconnecting: () => {},
  reconnected: () => {},
  conflict: () => {},
  permission: () => {},
  error: () => {},
  gaveUp: () => {},
};

describe('a client that is closed while a session is brought up', () => {
  const made = async (session: Session): Promise<void> => {
    const request = { channel: 'a', maxInFlight: 1, ackWait: 30_000, start: { at: 'new' } } as const;
    await session.subscribe(
      request,
      () => {},
      () => {},
    );
  };

  /** A subscription that the peer does not answer for. `begun` is told of the session. */
  function bringingUp(peer: Peer, begun: (session: Session) => void): Supervisor {
    const participants = idleParticipants({
      attach: (session) => {
        begun(session);
        return made(session);
      },
    });
    const pings = { interval: 1000, maxOut: 100 };
    const options = resolveConnectOptions(peer.url, { pings });
    return new Supervisor(options, participants, NOTHING, makeClock(), (parts) => new NatsGateway(parts));
  }

  it('does not wait for that', async () => {
    await using peer = await Peer.listen({ hooks: { subscribe: () => undefined } });
    let begun = false;
    const supervisor = bringingUp(peer, () => (begun = true));
    const refused = assert.rejects(supervisor.connect(), ClosedError);
    await until(() => begun, 'no session');
    supervisor.closing();
    await supervisor.close(1000);
    await refused;
    await until(() => peer.connections.every(({ open }) => !open), 'a connection is left');
  });

  it('and just then loses it, calls the race for the leader off that has begun', async () => {
    await using peer = await Peer.listen({ hooks: { subscribe: () => undefined } });
    let closing: Promise<void> | undefined;
    let session: Session | undefined;
    const supervisor = bringingUp(peer, (begun) => {
      session = begun;
      // Heard of before the supervisor hears of it.
      void (begun as StanSession).lost.then(() => {
        supervisor.closing();
        closing = supervisor.close(0);
      });
    });
    const refused = assert.rejects(supervisor.connect(), ClosedError);
    await until(() => session !== undefined, 'no session');
    const [own] = peer.connections;
    peer.leads = false;
    own!.deaf = true;
    await until(() => peer.dials > 1, 'no other connection is tried');
    own!.end();
    await refused;
    await closing;
    await until(() => peer.connections.every(({ open }) => !open), 'a connection is left', 5000);
  });
});
