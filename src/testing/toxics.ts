/**
 * Network faults in the words of Shopify's toxiproxy, and what they do to one direction of one connection.
 * Pure: no sockets and no timers; the time is passed in, in ms.
 */
import { InvalidArgumentError } from '../errors.js';
import { between, type Random } from './random.js';

/** Upstream: from the client to the server. Downstream: back. */
export type Direction = 'upstream' | 'downstream';

export type ToxicKind =
  /** Everything arrives `latency` ms later, give or take `jitter`; in order. */
  | { type: 'latency'; latency: number; jitter?: number }
  /** At most `rate` KB (of 1000 bytes) a second. */
  | { type: 'bandwidth'; rate: number }
  /** The end of the connection arrives `delay` ms later. */
  | { type: 'slow_close'; delay: number }
  /**
   * A black hole: what is sent is gone, and the connection stays open and mute; it is closed after `timeout` ms
   * (default 0: never), and when the toxic is removed.
   */
  | { type: 'timeout'; timeout?: number }
  /** The connection is reset after `timeout` ms (default 0: at once). */
  | { type: 'reset_peer'; timeout?: number }
  /** Data arrives in pieces of `average_size` bytes, give or take `size_variation`, `delay` µs apart. */
  | { type: 'slicer'; average_size: number; size_variation?: number; delay?: number }
  /** The connection is closed after `bytes` bytes more. */
  | { type: 'limit_data'; bytes: number }
  /**
   * Not one of toxiproxy's: a cut path, as TCP lives through it. Nothing arrives and nothing is lost; what was sent
   * arrives when the toxic is removed. New connections are accepted and mute.
   */
  | { type: 'stall' };

export type Toxic = ToxicKind & {
  /** To remove it by. Default: its type and a number. */
  name?: string;
  /** Default `both` (toxiproxy's own default is `downstream`). */
  stream?: Direction | 'both';
  /** The probability that it concerns a connection, 0 to 1, decided once for each. Default 1. */
  toxicity?: number;
};

const ATTRIBUTES: { readonly [type in ToxicKind['type']]: Readonly<Record<string, 'required' | 'optional'>> } = {
  latency: { latency: 'required', jitter: 'optional' },
  bandwidth: { rate: 'required' },
  slow_close: { delay: 'required' },
  timeout: { timeout: 'optional' },
  reset_peer: { timeout: 'optional' },
  slicer: { average_size: 'required', size_variation: 'optional', delay: 'optional' },
  limit_data: { bytes: 'required' },
  stall: {},
};

/** @throws InvalidArgumentError */
export function checkToxic(toxic: Toxic): void {
  const attributes = ATTRIBUTES[toxic.type] as Readonly<Record<string, 'required' | 'optional'>> | undefined;
  if (!attributes) {
    const known = Object.keys(ATTRIBUTES).join(', ');
    throw new InvalidArgumentError('type', `there is no toxic '${String(toxic.type)}'; there are: ${known}`);
  }
  const given = toxic as unknown as Record<string, unknown>;
  for (const [name, need] of Object.entries(attributes)) {
    const value = given[name];
    if (value === undefined && need === 'optional') continue;
    if (typeof value !== 'number' || !(value >= 0) || !Number.isFinite(value)) {
      throw new InvalidArgumentError(
        name,
        `toxic '${toxic.type}' needs ${name} to be a number, 0 or more, not ${String(value)}`,
      );
    }
  }
  for (const name of Object.keys(given)) {
    if (!(name in attributes) && !['type', 'name', 'stream', 'toxicity'].includes(name)) {
      throw new InvalidArgumentError(
        name,
        `toxic '${toxic.type}' has no '${name}'; it has: ${Object.keys(attributes).join(', ')}`,
      );
    }
  }
  const { stream = 'both', toxicity = 1 } = toxic;
  if (!['upstream', 'downstream', 'both'].includes(stream)) {
    throw new InvalidArgumentError(
      'stream',
      `stream must be 'upstream', 'downstream' or 'both', not '${String(stream)}'`,
    );
  }
  if (typeof toxicity !== 'number' || !(toxicity >= 0 && toxicity <= 1)) {
    throw new InvalidArgumentError('toxicity', `toxicity must be a probability from 0 to 1, not ${String(toxicity)}`);
  }
  if (toxic.type === 'bandwidth' && toxic.rate === 0) {
    throw new InvalidArgumentError(
      'rate',
      `a rate of 0 KB/s is a black hole: use { type: 'timeout' } or { type: 'stall' }`,
    );
  }
  if (toxic.type === 'slicer' && toxic.average_size - (toxic.size_variation ?? 0) < 1) {
    throw new InvalidArgumentError(
      'average_size',
      'a slice must have at least 1 byte: average_size must exceed size_variation',
    );
  }
}

/** What is to be done with the far side next. */
export type Step =
  | { do: 'write'; data: Buffer }
  /** FIN in this direction. */
  | { do: 'end' }
  /** Close the whole connection: FIN both ways, or RST both ways. */
  | { do: 'close' | 'reset' }
  /** Ask again then. */
  | { do: 'wait'; until: number }
  /** Ask again when something came, or a toxic changed. */
  | { do: 'idle' };

interface Item {
  kind: 'data' | 'end' | 'reset';
  data: Buffer;
  arrived: number;
  due: number;
}

const NOTHING = Buffer.alloc(0);

/** One direction of one connection: what came in, and when it may go out. */
export class Link {
  readonly #random: Random;
  /** Those that concern this connection, since when, and how many bytes they have let through. */
  readonly #toxics = new Map<Toxic, { since: number; passed: number }>();
  #queue: Item[] = [];
  #head = 0;
  #held = 0;
  /** When the last one planned is due: nothing overtakes. */
  #last = 0;
  #closeBy: 'close' | undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Bytes that wait in here. */
  get held(): number {
    return this.#held;
  }

  /** Nothing that is sent now can get through, and nothing is lost. */
  get stalled(): boolean {
    return this.#find('stall') !== undefined;
  }

  apply(toxic: Toxic, now: number): void {
    this.#toxics.set(toxic, { since: now, passed: 0 });
    if (toxic.type === 'timeout') this.#drop();
    this.#replan(now);
  }

  remove(toxic: Toxic, now: number): void {
    if (!this.#toxics.delete(toxic)) return;
    // A hole in the middle of a stream is not something to go on after.
    if (toxic.type === 'timeout') this.#closeBy = 'close';
    this.#replan(now);
  }

  receive(data: Buffer, now: number): void {
    if (this.#find('timeout')) return;
    this.#plan({ kind: 'data', data, arrived: now, due: 0 }, now);
  }

  /** The near side has ended its stream, or reset the connection. */
  finish(kind: 'end' | 'reset', now: number): void {
    this.#plan({ kind, data: NOTHING, arrived: now, due: 0 }, now);
  }

  /** The next thing to do. What is returned counts as done. */
  next(now: number): Step {
    if (this.#closeBy) return { do: this.#closeBy };
    let wake = Number.POSITIVE_INFINITY;
    for (const [toxic, { since }] of this.#toxics) {
      if (toxic.type !== 'timeout' && toxic.type !== 'reset_peer') continue;
      if (toxic.type === 'timeout' && !toxic.timeout) continue;
      const at = since + (toxic.timeout ?? 0);
      if (at <= now) return { do: toxic.type === 'timeout' ? 'close' : 'reset' };
      wake = Math.min(wake, at);
    }
    const item = this.#queue[this.#head];
    if (item && item.due <= now) return this.#release(item);
    wake = Math.min(wake, item?.due ?? Number.POSITIVE_INFINITY);
    return wake === Number.POSITIVE_INFINITY ? { do: 'idle' } : { do: 'wait', until: wake };
  }

  #release(item: Item): Step {
    if (item.kind !== 'data') {
      this.#shift(item);
      return { do: item.kind };
    }
    let room = Number.POSITIVE_INFINITY;
    for (const [toxic, state] of this.#toxics) {
      if (toxic.type === 'limit_data') room = Math.min(room, Math.max(toxic.bytes - state.passed, 0));
    }
    const data = item.data.subarray(0, room);
    for (const state of this.#toxics.values()) state.passed += data.length;
    if (item.data.length >= room) this.#closeBy = 'close';
    this.#shift(item);
    return data.length === 0 && this.#closeBy ? { do: this.#closeBy } : { do: 'write', data };
  }

  #shift(item: Item): void {
    this.#held -= item.data.length;
    this.#queue[this.#head++] = undefined as unknown as Item; // let go of the data
    if (this.#head > 64 && this.#head * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
  }

  #drop(): void {
    this.#queue = this.#queue.slice(this.#head).filter((item) => item.kind !== 'data');
    this.#head = 0;
    this.#held = 0;
  }

  /** What waits is subject to the toxics as they are now, from its own arrival on. */
  #replan(now: number): void {
    const waiting = this.#queue.slice(this.#head);
    this.#queue = [];
    this.#head = 0;
    this.#held = 0;
    this.#last = 0;
    for (const item of waiting) this.#plan(item, now);
  }

  #plan(item: Item, now: number): void {
    let due = item.arrived;
    let rate = Number.POSITIVE_INFINITY; // bytes per ms
    let slicer: (Toxic & { type: 'slicer' }) | undefined;
    let held = false;
    for (const toxic of this.#toxics.keys()) {
      switch (toxic.type) {
        case 'latency':
          due += Math.max(toxic.latency + (2 * this.#random() - 1) * (toxic.jitter ?? 0), 0);
          break;
        case 'bandwidth':
          rate = Math.min(rate, toxic.rate);
          break;
        case 'slow_close':
          if (item.kind === 'end') due += toxic.delay;
          break;
        case 'slicer':
          slicer = toxic;
          break;
        case 'stall':
        case 'timeout': // here only the end of a stream comes this far
          held = true;
          break;
        case 'limit_data': // these act when something leaves, or at their time
        case 'reset_peer':
          break;
      }
    }
    if (item.kind !== 'data') return this.#enqueue({ ...item, due: held ? Number.POSITIVE_INFINITY : due });
    const smooth = Math.max(Math.floor(rate * 100), 1); // what is slow comes every 100 ms, not all at the end
    let offset = 0;
    while (offset < item.data.length) {
      let size = Math.min(item.data.length - offset, smooth);
      if (slicer) {
        const variation = slicer.size_variation ?? 0;
        size = Math.min(size, between(this.#random, slicer.average_size - variation, slicer.average_size + variation));
        if (offset > 0) due += (slicer.delay ?? 0) / 1000;
      }
      if (rate !== Number.POSITIVE_INFINITY) due = Math.max(due, this.#last, now) + size / rate;
      const data = item.data.subarray(offset, offset + size);
      this.#enqueue({ kind: 'data', data, arrived: item.arrived, due: held ? Number.POSITIVE_INFINITY : due });
      offset += size;
    }
  }

  #enqueue(item: Item): void {
    this.#last = Math.max(this.#last, item.due);
    this.#queue.push({ ...item, due: this.#last });
    this.#held += item.data.length;
  }

  #find(type: Toxic['type']): Toxic | undefined {
    for (const toxic of this.#toxics.keys()) if (toxic.type === type) return toxic;
    return undefined;
  }
}
