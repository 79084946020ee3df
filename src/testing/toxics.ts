/**
 * Network faults in the words of Shopify's toxiproxy, and what they do to one direction of one connection.
 * Pure: no sockets and no timers; the time is passed in, in ms.
 */
import { InvalidArgumentError } from '../errors.js';
import { defaultBuffer, Line, type Direction } from './line.js';
import { between, type Random } from './random.js';

export type ToxicKind =
  /** Everything arrives `latency` ms later, give or take `jitter`; in order. */
  | { type: 'latency'; latency: number; jitter?: number }
  /**
   * A thin line: at most `rate` KB (of 1000 bytes) a second in each direction. Of each connection it holds up to
   * `buffer` KB in each direction (default: what 100 ms carry, at least 16 KB), and then the sender has to wait.
   * `shared: true`: one limit for all connections of the proxy, and of all proxies to which the same object is added;
   * those that have something to send get equal parts. Default: each connection has a line of its own.
   */
  | { type: 'bandwidth'; rate: number; buffer?: number; shared?: boolean }
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

type Attribute = 'required' | 'optional' | 'flag';

const ATTRIBUTES: { readonly [type in ToxicKind['type']]: Readonly<Record<string, Attribute>> } = {
  latency: { latency: 'required', jitter: 'optional' },
  bandwidth: { rate: 'required', buffer: 'optional', shared: 'flag' },
  slow_close: { delay: 'required' },
  timeout: { timeout: 'optional' },
  reset_peer: { timeout: 'optional' },
  slicer: { average_size: 'required', size_variation: 'optional', delay: 'optional' },
  limit_data: { bytes: 'required' },
  stall: {},
};

/** @throws InvalidArgumentError */
export function checkToxic(toxic: Toxic): void {
  const attributes = ATTRIBUTES[toxic.type] as Readonly<Record<string, Attribute>> | undefined;
  if (!attributes) {
    const known = Object.keys(ATTRIBUTES).join(', ');
    throw new InvalidArgumentError('type', `there is no toxic '${String(toxic.type)}'; there are: ${known}`);
  }
  const given = toxic as unknown as Record<string, unknown>;
  for (const [name, need] of Object.entries(attributes)) {
    const value = given[name];
    if (value === undefined && need !== 'required') continue;
    if (need === 'flag') {
      if (typeof value === 'boolean') continue;
      throw new InvalidArgumentError(
        name,
        `toxic '${toxic.type}' needs ${name} to be true or false, not ${String(value)}`,
      );
    }
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

/** What waits in one direction of a proxy before it stops reading, in bytes: about what a network holds. */
const HIGH_WATER = 256 * 1024;

interface Item {
  kind: 'data' | 'end' | 'reset';
  data: Buffer;
  arrived: number;
  due: number;
}

const NOTHING = Buffer.alloc(0);

/** What waits, in order, and how many bytes that are. */
class Queue {
  #items: Item[] = [];
  #head = 0;
  bytes = 0;

  get first(): Item | undefined {
    return this.#items[this.#head];
  }

  push(item: Item): void {
    this.#items.push(item);
    this.bytes += item.data.length;
  }

  /** Takes the first one, or only so many bytes of its beginning. */
  take(bytes = Number.POSITIVE_INFINITY): Item {
    const item = this.first as Item;
    const data = item.data.subarray(0, bytes);
    this.bytes -= data.length;
    if (data.length < item.data.length) {
      this.#items[this.#head] = { ...item, data: item.data.subarray(data.length) };
      return { ...item, data };
    }
    this.#items[this.#head++] = undefined as unknown as Item; // let go of the data
    if (this.#head > 64 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Takes everything. */
  clear(): Item[] {
    const all = this.#items.slice(this.#head);
    this.#items = [];
    this.#head = 0;
    this.bytes = 0;
    return all;
  }
}

/**
 * One direction of one connection: what came in, and when it may go out. First it goes over the thin lines, if there
 * are any; from there on it is under way for as long as the other toxics say.
 */
export class Link {
  readonly #random: Random;
  /** Those that concern this connection, since when, and how many bytes they have let through. */
  readonly #toxics = new Map<Toxic, { since: number; passed: number }>();
  /** What everything goes over, and how many bytes may wait for that. */
  readonly #lines = new Map<Toxic, { line: Line; buffer: number }>();
  readonly #entering = new Queue();
  readonly #underWay = new Queue();
  /** The piece at the head of `#entering` that the lines are busy with, and when it is over them. */
  #turn: { bytes: number; until: number } | undefined;
  /** Since when what waits could have gone over the lines as they are now. */
  #open = 0;
  /** When the last one planned is due: nothing overtakes. */
  #last = 0;
  #closeBy: 'close' | undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Bytes that wait in here. */
  get held(): number {
    return this.#entering.bytes + this.#underWay.bytes;
  }

  /** It takes no more for now: the sender has to wait. */
  get full(): boolean {
    if (this.#lines.size === 0) return this.held > HIGH_WATER;
    return [...this.#lines.values()].some(({ buffer }) => this.#entering.bytes > buffer);
  }

  /** Nothing that is sent now can get through, and nothing is lost. */
  get stalled(): boolean {
    return this.#find('stall') !== undefined;
  }

  /** `line`: what a `bandwidth` goes over, if it is not a line of its own. */
  apply(toxic: Toxic, now: number, line?: Line): void {
    this.#toxics.set(toxic, { since: now, passed: 0 });
    if (toxic.type === 'timeout') this.#drop();
    if (toxic.type === 'bandwidth') {
      const buffer = 1000 * (toxic.buffer ?? defaultBuffer(toxic.rate));
      this.#lines.set(toxic, { line: line ?? new Line(toxic.rate), buffer });
      this.#turn = undefined;
      // What is under way has this line before it, too.
      const entering = this.#entering.clear();
      for (const item of [...this.#underWay.clear(), ...entering]) this.#entering.push(item);
    }
    this.#replan(now);
  }

  remove(toxic: Toxic, now: number): void {
    if (!this.#toxics.delete(toxic)) return;
    // A hole in the middle of a stream is not something to go on after.
    if (toxic.type === 'timeout') this.#closeBy = 'close';
    if (this.#lines.delete(toxic)) this.#turn = undefined;
    this.#replan(now);
  }

  receive(data: Buffer, now: number): void {
    if (this.#find('timeout')) return;
    this.#enter({ kind: 'data', data, arrived: now, due: 0 }, now);
  }

  /** The near side has ended its stream, or reset the connection. */
  finish(kind: 'end' | 'reset', now: number): void {
    this.#enter({ kind, data: NOTHING, arrived: now, due: 0 }, now);
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
    this.#carry(now);
    const item = this.#underWay.first;
    if (item && item.due <= now) return this.#release(item);
    wake = Math.min(wake, this.#turn?.until ?? Number.POSITIVE_INFINITY, item?.due ?? Number.POSITIVE_INFINITY);
    return wake === Number.POSITIVE_INFINITY ? { do: 'idle' } : { do: 'wait', until: wake };
  }

  #release(item: Item): Step {
    this.#underWay.take();
    if (item.kind !== 'data') return { do: item.kind };
    let room = Number.POSITIVE_INFINITY;
    for (const [toxic, { passed }] of this.#toxics) {
      if (toxic.type === 'limit_data') room = Math.min(room, Math.max(toxic.bytes - passed, 0));
    }
    const data = item.data.subarray(0, room);
    for (const concern of this.#toxics.values()) concern.passed += data.length;
    if (item.data.length >= room) this.#closeBy = 'close';
    return data.length === 0 && this.#closeBy ? { do: this.#closeBy } : { do: 'write', data };
  }

  #drop(): void {
    this.#turn = undefined;
    for (const queue of [this.#entering, this.#underWay]) {
      for (const item of queue.clear()) if (item.kind !== 'data') queue.push(item);
    }
  }

  #enter(item: Item, now: number): void {
    this.#entering.push(item);
    this.#carry(now);
  }

  /** Brings over the lines what is over them by now, and begins with the next piece. Nothing moves on a cut path. */
  #carry(now: number): void {
    for (let item = this.#entering.first; item; item = this.#entering.first) {
      if (item.kind !== 'data' || this.#lines.size === 0) {
        this.#plan(this.#entering.take());
        continue;
      }
      if (!this.#turn) {
        if (this.stalled) return;
        const lines = [...this.#lines.values()].map(({ line }) => line);
        const bytes = Math.min(item.data.length, ...lines.map((line) => line.piece));
        const since = Math.max(item.arrived, this.#open);
        this.#turn = { bytes, until: Math.max(...lines.map((line) => line.take(bytes, since, now))) };
      }
      const { bytes, until } = this.#turn;
      if (until > now) return;
      this.#turn = undefined;
      this.#plan({ ...this.#entering.take(bytes), arrived: until });
    }
  }

  /** What waits is subject to the toxics as they are now, from its own arrival on. */
  #replan(now: number): void {
    this.#open = now;
    this.#last = 0;
    for (const item of this.#underWay.clear()) this.#plan(item);
    this.#carry(now);
  }

  #plan(item: Item): void {
    let due = item.arrived;
    let slicer: (Toxic & { type: 'slicer' }) | undefined;
    let held = false;
    for (const toxic of this.#toxics.keys()) {
      switch (toxic.type) {
        case 'latency':
          due += Math.max(toxic.latency + (2 * this.#random() - 1) * (toxic.jitter ?? 0), 0);
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
        case 'bandwidth': // that is behind it
        case 'limit_data': // these act when something leaves, or at their time
        case 'reset_peer':
          break;
      }
    }
    if (item.kind !== 'data') return this.#send({ ...item, due: held ? Number.POSITIVE_INFINITY : due });
    let offset = 0;
    while (offset < item.data.length) {
      let size = item.data.length - offset;
      if (slicer) {
        const variation = slicer.size_variation ?? 0;
        size = Math.min(size, between(this.#random, slicer.average_size - variation, slicer.average_size + variation));
        if (offset > 0) due += (slicer.delay ?? 0) / 1000;
      }
      const data = item.data.subarray(offset, offset + size);
      this.#send({ kind: 'data', data, arrived: item.arrived, due: held ? Number.POSITIVE_INFINITY : due });
      offset += size;
    }
  }

  #send(item: Item): void {
    this.#last = Math.max(this.#last, item.due);
    this.#underWay.push({ ...item, due: this.#last });
  }

  #find(type: Toxic['type']): Toxic | undefined {
    for (const toxic of this.#toxics.keys()) if (toxic.type === type) return toxic;
    return undefined;
  }
}
