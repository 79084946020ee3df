import assert from 'node:assert/strict';
import type { ResilientStanError } from '../../../src/errors.js';
import { Publisher, type PubAck, type PublisherOptions } from '../../../src/publishing/publisher.js';
import { ScriptedSession } from '../../support/scripted-session.js';
import { VirtualTime } from '../../support/virtual-time.js';

export interface Setup {
  publisher: Publisher;
  time: VirtualTime;
  bugs: Error[];
  /** A new session, attached, whose loss detaches it. */
  attach: (ordinal?: number, maxPayload?: number) => ScriptedSession;
}

export function setup(options: Partial<PublisherOptions> = {}): Setup {
  const time = new VirtualTime({ start: 1000.25 });
  const bugs: Error[] = [];
  const publisher = new Publisher({
    clientId: 'unit',
    ordering: 'pipelined',
    maxInFlight: 1024,
    ackTimeout: 30_000,
    maxPending: 1000,
    maxPendingBytes: 1_000_000,
    whenFull: 'reject',
    clock: time.clock,
    onError: (error) => bugs.push(error),
    ...options,
  });
  let sessions = 0;
  const attach = (ordinal = ++sessions, maxPayload?: number): ScriptedSession => {
    sessions = ordinal;
    const session = new ScriptedSession(ordinal, maxPayload, () => time.now());
    session.onLoss = () => publisher.detach();
    publisher.attach(session);
    return session;
  };
  return { publisher, time, bugs, attach };
}

export type Settled = { ack: PubAck } | { error: ResilientStanError } | 'pending';

/** What became of a publish, once all that follows from the past has run. */
export async function settled(promise: Promise<PubAck>): Promise<Settled> {
  let result: Settled = 'pending';
  promise.then(
    (ack) => (result = { ack }),
    (error: unknown) => (result = { error: error as ResilientStanError }),
  );
  await reactions();
  return result;
}

/** Lets all reactions of promises run. */
export function reactions(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export async function errorOf(promise: Promise<PubAck>): Promise<ResilientStanError> {
  const result = await settled(promise);
  assert.ok(typeof result === 'object' && 'error' in result, `expected a rejection, got ${JSON.stringify(result)}`);
  return result.error;
}

export async function ackOf(promise: Promise<PubAck>): Promise<PubAck> {
  const result = await settled(promise);
  if (typeof result === 'object' && 'error' in result) throw result.error;
  assert.ok(result !== 'pending', 'expected an acknowledgement, and it is still pending');
  return result.ack;
}

/** Handles rejections that a test does not look at. */
export function ignore(...promises: Promise<unknown>[]): void {
  for (const promise of promises) promise.catch(() => undefined);
}
