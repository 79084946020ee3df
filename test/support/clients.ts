/** Clients that a test makes, what it sees of them, and what is in a channel afterwards. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { ResilientStan, ResilientStanError, type ConnectOptions, type ResilientStanEvents } from '../../src/index.js';
import { waitFor } from '../../src/testing/index.js';

export type EventName = keyof ResilientStanEvents;
export interface Seen {
  event: EventName;
  payload: unknown;
  at: number;
}

const EVENTS: readonly EventName[] = [
  'connect',
  'connection_lost',
  'reconnecting',
  'reconnect',
  'resubscribe',
  'permission_error',
  'client_id_conflict',
  'state',
  'error',
  'close',
];

/** Everything a client emits, in order. */
export class Recorder {
  readonly seen: Seen[] = [];

  constructor(stan: ResilientStan) {
    for (const event of EVENTS) {
      stan.on(event, (payload: unknown) => this.seen.push({ event, payload, at: performance.now() }));
    }
  }

  /** Names in order; states as `connected>reconnecting`. */
  get names(): string[] {
    return this.seen.map(({ event, payload }) => {
      if (event !== 'state') return event;
      const { from, to } = payload as { from: string; to: string };
      return `${from}>${to}`;
    });
  }

  of<E extends EventName>(event: E): Parameters<ResilientStanEvents[E]>[0][] {
    return this.seen.filter((seen) => seen.event === event).map(({ payload }) => payload) as never;
  }

  count(event: EventName): number {
    return this.of(event).length;
  }

  async until(event: EventName, times = 1, timeout = 20_000): Promise<void> {
    await until(
      () => this.count(event) >= times,
      `'${event}' did not come ${times} times: ${this.names.join(' ')}`,
      timeout,
    );
  }
}

/** Closes, after each test, what it has connected. */
export class Clients {
  readonly #all = new Set<ResilientStan>();

  async connect(urls: string | readonly string[], options: ConnectOptions = {}): Promise<ResilientStan> {
    const stan = await ResilientStan.connect(urls, options);
    this.#all.add(stan);
    return stan;
  }

  /** Without a drain: what a failed test has left undone must not hold up the next one. */
  async closeAll(): Promise<void> {
    const all = [...this.#all];
    this.#all.clear();
    await Promise.all(all.map((stan) => stan.close({ timeout: 0 })));
  }
}

/** Waits for a condition, and says what it waited for in vain. */
export async function until(condition: () => unknown, what: string | (() => string), timeout = 20_000): Promise<void> {
  await waitFor(async () => ((await condition()) ? true : undefined), {
    timeout,
    interval: 5,
    what: () => (typeof what === 'string' ? what : what()),
  });
}

export function uniqueName(prefix: string): string {
  return `${prefix}-${randomUUID().slice(0, 8)}`;
}

/** All that is in a channel, from its first message on, as text: read by a client of its own. */
export async function readBack(
  urls: string | readonly string[],
  channel: string,
  options: ConnectOptions = {},
): Promise<string[]> {
  await using stan = await ResilientStan.connect(urls, options);
  const end = `end of ${randomUUID()}`;
  const values: string[] = [];
  await using _subscription = await stan.subscribe(channel, (message) => void values.push(message.string()), {
    startAt: 'first',
  });
  await stan.publish(channel, end);
  await until(
    () => values.at(-1) === end,
    () => `the end of '${channel}' did not come; read: ${values.length}`,
  );
  return values.slice(0, -1);
}

/** The error a promise rejects with, which must be one of this library's, of this class. */
export async function rejection<E extends ResilientStanError>(
  promise: Promise<unknown>,
  kind: abstract new (...args: never[]) => E,
  ...words: (string | RegExp)[]
): Promise<E> {
  let error: unknown;
  try {
    const value = await promise;
    assert.fail(`it resolved, to ${String(value)}`);
  } catch (thrown) {
    error = thrown;
  }
  assert.ok(error instanceof kind, `not a ${kind.name} but: ${String(error)}`);
  assert.ok(error instanceof ResilientStanError);
  assert.match(error.code, /^ERR_STAN_[A-Z_]+$/);
  for (const word of words) {
    if (typeof word === 'string') assert.ok(error.message.includes(word), `'${word}' is not in: ${error.message}`);
    else assert.match(error.message, word);
  }
  return error;
}

/** A promise that is settled from outside. */
export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (e: Error) => void } {
  let resolve!: (value: T) => void;
  let reject!: (e: Error) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** Whether a promise has settled by now, with all that is ready to run having run. */
export async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const settle = (): void => void (settled = true);
  promise.then(settle, settle);
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
}
