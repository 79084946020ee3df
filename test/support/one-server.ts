/** What tests at one real server behind a proxy do to the way there. */
import type { ResilientStan } from '../../src/index.js';
import type { StanNode } from '../../src/testing/index.js';
import { Recorder, until, type Clients } from './clients.js';

/** Cuts the way to the server until the client has lost its session. Returns what hears the client's events from then on. */
export async function cutOff(server: StanNode, stan: ResilientStan): Promise<Recorder> {
  // A client that has lost its session already would not lose another one.
  await until(
    () => stan.state === 'connected',
    () => `the client is ${stan.state}`,
  );
  const recorder = new Recorder(stan);
  await server.proxy.down();
  await recorder.until('connection_lost');
  return recorder;
}

/** Mends the way that {@link cutOff} has cut, until the client is back. */
export async function letBack(server: StanNode, recorder: Recorder): Promise<void> {
  await server.proxy.up();
  await recorder.until('reconnect', recorder.count('connection_lost'));
}

/** Leaves the way as a test has found it, and nobody on it. */
export async function restore(server: StanNode, clients: Clients): Promise<void> {
  server.proxy.clear();
  await server.proxy.up();
  await clients.closeAll();
}
