/**
 * Network faults, with the names of Shopify's toxiproxy, and their effect on one direction of one connection.
 * Pure: there are no sockets and no timers, and the time is passed in, in ms.
 */
import { InvalidArgumentError } from '../errors.js';
import { defaultBuffer, Line, type Direction } from './line.js';
import { between, type Random } from './random.js';

/**
 * What a toxic does, with toxiproxy's names:
 *
 * - `latency`: everything arrives later, and in order;
 * - `bandwidth`: a line with a limit, in each direction;
 * - `slow_close`: the end of a connection arrives later;
 * - `timeout`: a black hole: what is sent is lost, and the connection stays open and silent. When the toxic is removed, the
 *   connection is closed;
 * - `reset_peer`: the connection is reset;
 * - `slicer`: data arrives in pieces;
 * - `limit_data`: the connection is closed after some data;
 * - `stall` (not in toxiproxy): a cut path, as TCP lives through it. Nothing arrives and nothing is lost, and what was sent
 *   arrives when the toxic is removed. New connections are accepted and silent.
 *
 * @category Network
 */
export type ToxicKind =
  | {
      /** Everything arrives later, and in order. */
      type: 'latency';
      /** How much later, in ms. */
      latency: number;
      /** By how much that may be more or less, in ms. Default 0. */
      jitter?: number;
    }
  | {
      /** A line with a limit, in each direction. */
      type: 'bandwidth';
      /** The limit in each direction, in KB (1000 bytes) a second. */
      rate: number;
      /**
       * How much the line holds of each connection and direction before the sender has to wait, in KB. Default: what the line
       * carries in 100 ms, and at least 16.
       */
      buffer?: number;
      /**
       * Whether all connections share one line, also those of other proxies to which the same object is added. Those that have
       * something to send get equal parts. Default false: each connection has a line of its own.
       */
      shared?: boolean;
    }
  | {
      /** The end of a connection arrives later. */
      type: 'slow_close';
      /** How much later, in ms. */
      delay: number;
    }
  | {
      /** A black hole. */
      type: 'timeout';
      /** Time after which the connection is closed, in ms. Default 0: never. */
      timeout?: number;
    }
  | {
      /** The connection is reset (TCP RST). */
      type: 'reset_peer';
      /** Time after which it is reset, in ms. Default 0: at once. */
      timeout?: number;
    }
  | {
      /** Data arrives in pieces. */
      type: 'slicer';
      /** Size of a piece, in bytes. */
      average_size: number;
      /** By how much that may be more or less, in bytes. Default 0. */
      size_variation?: number;
      /** Time between two pieces, in microseconds. Default 0. */
      delay?: number;
    }
  | {
      /** The connection is closed after some data. */
      type: 'limit_data';
      /** How much data still passes, in bytes. */
      bytes: number;
    }
  | {
      /** A cut path. */
      type: 'stall';
    };

/**
 * A network fault for the connections of a {@link Proxy}.
 *
 * @example
 * ```ts
 * proxy.add({ type: 'bandwidth', rate: 100, shared: true });
 * proxy.add({ type: 'timeout', stream: 'upstream', toxicity: 0.5 });
 * ```
 * @category Network
 */
export type Toxic = ToxicKind & {
  /** Name of the toxic. Default: its type and a number. */
  name?: string;
  /** The direction it concerns. Default `'both'` (in toxiproxy it is `downstream`). */
  stream?: Direction | 'both';
  /** The probability that it concerns a connection, from 0 to 1. It is drawn once for each connection. Default 1. */
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

/** What the far side is to do next. */
export type Step =
  | { do: 'write'; data: Buffer }
  /** End this direction (FIN). */
  | { do: 'end' }
  /** End both directions (FIN), or reset the connection (RST). */
  | { do: 'close' | 'reset' }
  /** Ask again at this time. */
  | { do: 'wait'; until: number }
  /** Ask again when something has come, or a toxic has changed. */
  | { do: 'idle' };

/** How much may wait in one direction before the proxy stops reading, in bytes. A network holds about as much. */
const HIGH_WATER = 256 * 1024;

interface Item {
  kind: 'data' | 'end' | 'reset';
  data: Buffer;
  arrived: number;
  due: number;
}

const NOTHING = Buffer.alloc(0);

/** Items that wait, in their order, and their bytes. */
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

  /** Takes the first item, or only the first `bytes` bytes of it. */
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

  /** Takes all items. */
  clear(): Item[] {
    const all = this.#items.slice(this.#head);
    this.#items = [];
    this.#head = 0;
    this.bytes = 0;
    return all;
  }
}

/**
 * One direction of one connection: what has come in, and when it may go out. It first goes over the lines of limited
 * bandwidth, if there are any. Then it is under way for as long as the other toxics say.
 */
export class Link {
  readonly #random: Random;
  /** The toxics of this connection, since when they are there, and how many bytes have passed since. */
  readonly #toxics = new Map<Toxic, { since: number; passed: number }>();
  /** The lines that everything goes over, and how many bytes may wait in front of each. */
  readonly #lines = new Map<Toxic, { line: Line; buffer: number }>();
  readonly #entering = new Queue();
  readonly #underWay = new Queue();
  /** The piece at the head of `#entering` that is on the lines, and when it has passed them. */
  #turn: { bytes: number; until: number } | undefined;
  /** Since when the lines are as they are now. */
  #open = 0;
  /** When the last item is due. No item overtakes another. */
  #last = 0;
  #closeBy: 'close' | undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  /** How many bytes wait in this direction. */
  get held(): number {
    return this.#entering.bytes + this.#underWay.bytes;
  }

  /** Whether the sender has to wait. */
  get full(): boolean {
    if (this.#lines.size === 0) return this.held > HIGH_WATER;
    return [...this.#lines.values()].some(({ buffer }) => this.#entering.bytes > buffer);
  }

  /** Whether the path is cut: nothing gets through, and nothing is lost. */
  get stalled(): boolean {
    return this.#find('stall') !== undefined;
  }

  /** Adds a toxic. @param line the line of a `bandwidth`, if it is shared */
  apply(toxic: Toxic, now: number, line?: Line): void {
    this.#toxics.set(toxic, { since: now, passed: 0 });
    if (toxic.type === 'timeout') this.#drop();
    if (toxic.type === 'bandwidth') {
      const buffer = 1000 * (toxic.buffer ?? defaultBuffer(toxic.rate));
      this.#lines.set(toxic, { line: line ?? new Line(toxic.rate), buffer });
      this.#turn = undefined;
      // What is under way has to go over this line as well.
      const entering = this.#entering.clear();
      for (const item of [...this.#underWay.clear(), ...entering]) this.#entering.push(item);
    }
    this.#replan(now);
  }

  remove(toxic: Toxic, now: number): void {
    if (!this.#toxics.delete(toxic)) return;
    // A stream with a hole in it cannot go on.
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

  /** The next step of the far side. It counts as done when it is returned. */
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

  /** Moves on what has passed the lines by now, and begins with the next piece. Nothing moves on a cut path. */
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

  /** Plans what waits again with the toxics as they are now, each item from its own arrival on. */
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
        case 'timeout': // data was dropped before, so this is the end of a stream
          held = true;
          break;
        case 'bandwidth': // the lines come before
        case 'limit_data': // these act when something leaves, or at a time of their own
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
