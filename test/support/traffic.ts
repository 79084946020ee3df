/**
 * Two publishers and a plain, a durable, a queue and a durable-queue subscriber, and the check of what they saw.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { ResilientStan, type ConnectOptions, type PubAck, type ResilientStanError } from '../../src/index.js';
import { waitFor } from '../../src/testing/index.js';

export type Ordering = 'strict' | 'pipelined';

interface Subscriber {
  kind: 'plain' | 'durable' | 'queue' | 'durable-queue';
  /** Values in the order in which handlers began. */
  values: string[];
  /** Sequence -> times handled. */
  handled: Map<number, number>;
  seen: Set<string>;
  resets: number;
  gaps: string[];
}

export interface TrafficOptions {
  ordering?: Ordering;
  /** Messages per second and publisher. */
  rate?: number;
  options?: ConnectOptions;
}

export class Traffic {
  readonly channel = `traffic.${randomUUID().slice(0, 8)}`;
  readonly clients: ResilientStan[] = [];
  readonly subscribers: Subscriber[] = [];
  readonly acknowledged = new Set<string>();
  readonly rejected: { value: string; error: ResilientStanError }[] = [];
  readonly settled = new Map<string, number>();
  attempted = 0;
  readonly #ordering: Ordering;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #rate: number;
  readonly #counters = [0, 0];

  private constructor(ordering: Ordering, rate: number) {
    this.#ordering = ordering;
    this.#rate = rate;
  }

  static async start(urls: string | string[], options: TrafficOptions = {}): Promise<Traffic> {
    const traffic = new Traffic(options.ordering ?? 'pipelined', options.rate ?? 60);
    const id = randomUUID().slice(0, 8);
    for (const name of ['one', 'two']) {
      traffic.clients.push(
        await ResilientStan.connect(urls, {
          clientId: `${name}-${id}`,
          publishing: { ordering: options.ordering ?? 'pipelined' },
          ...options.options,
        }),
      );
    }
    const [one, two] = traffic.clients as [ResilientStan, ResilientStan];
    await traffic.#subscribe(one, 'plain');
    await traffic.#subscribe(one, 'durable');
    await traffic.#subscribe(two, 'queue');
    await traffic.#subscribe(two, 'durable-queue');
    traffic.resume();
    return traffic;
  }

  get #first(): ResilientStan {
    return this.clients[0] as ResilientStan;
  }

  /** The node the first client is attached to. */
  get attached(): string | undefined {
    return this.#first.server;
  }

  get losses(): number {
    return this.clients.reduce((sum, client) => sum + client.stats().losses, 0);
  }

  async #subscribe(client: ResilientStan, kind: Subscriber['kind']): Promise<void> {
    const subscriber: Subscriber = { kind, values: [], handled: new Map(), seen: new Set(), resets: 0, gaps: [] };
    this.subscribers.push(subscriber);
    const subscription = await client.subscribe(
      this.channel,
      async (message) => {
        const value = message.string();
        subscriber.values.push(value);
        subscriber.handled.set(message.sequence, (subscriber.handled.get(message.sequence) ?? 0) + 1);
        await Promise.resolve();
        subscriber.seen.add(value);
      },
      {
        startAt: 'first',
        ...(kind.startsWith('durable') && { durableName: 'd' }),
        ...(kind.endsWith('queue') && { queueGroup: 'q' }),
      },
    );
    subscription.on('reset', () => {
      subscriber.resets += 1;
      // Sequences begin anew.
      subscriber.handled.clear();
    });
    subscription.on('gap', ({ from, to }) => subscriber.gaps.push(`${from}..${to}`));
  }

  /** Publishes on. */
  resume(): void {
    this.clients.forEach((client, publisher) => {
      const timer = setInterval(() => this.#publish(client, publisher), 1000 / this.#rate);
      this.#timers.add(timer);
    });
  }

  /** Publishes nothing for now. */
  pause(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers.clear();
  }

  #publish(client: ResilientStan, publisher: number): void {
    const value = `${publisher}-${this.#counters[publisher]!++}`;
    this.attempted += 1;
    const settle = (): void => void this.settled.set(value, (this.settled.get(value) ?? 0) + 1);
    client.publish(this.channel, value).then(
      (_ack: PubAck) => {
        settle();
        this.acknowledged.add(value);
      },
      (error: ResilientStanError) => {
        settle();
        this.rejected.push({ value, error });
      },
    );
  }

  /** Everything published so far is acknowledged and has arrived everywhere. */
  async caughtUp(timeout = 60_000): Promise<void> {
    await waitFor(() => this.#isCaughtUp() || undefined, {
      timeout,
      what: () => `not every publish was settled and received (${this.report()})`,
    });
  }

  /** More has been acknowledged, and delivered, since it was called. */
  async moves(timeout = 60_000): Promise<void> {
    const acknowledged = this.acknowledged.size;
    const counts = this.subscribers.map((s) => s.seen.size);
    const moved = (): boolean =>
      this.acknowledged.size > acknowledged + 10 && this.subscribers.every((s, i) => s.seen.size > counts[i]! + 10);
    await waitFor(() => moved() || undefined, { timeout, what: () => `nothing moves (${this.report()})` });
  }

  #isCaughtUp(): boolean {
    return this.settled.size === this.attempted && this.subscribers.every((s) => this.#missing(s).length === 0);
  }

  #missing(subscriber: Subscriber): string[] {
    return [...this.acknowledged].filter((value) => !subscriber.seen.has(value));
  }

  report(): string {
    const subscribers = this.subscribers.map(
      (s) => `${s.kind}: ${s.seen.size} received, missing ${this.#missing(s).slice(0, 5).join(' ') || 'none'}`,
    );
    return (
      `attempted ${this.attempted}, settled ${this.settled.size}, acknowledged ${this.acknowledged.size}, ` +
      `rejected ${this.rejected.length}, ${subscribers.join('; ')}, ` +
      `states ${this.clients.map((c) => c.state).join()}, stats ${JSON.stringify(this.clients.map((c) => c.stats()))}`
    );
  }

  /** Stops publishing, lets everything arrive, and checks every message. */
  async verify(): Promise<void> {
    this.pause();
    await this.caughtUp();
    assert.equal(this.rejected.length, 0, `rejected: ${this.rejected[0]?.error.message}`);
    assert.equal(this.acknowledged.size, this.attempted);
    assert.ok(
      [...this.settled.values()].every((times) => times === 1),
      'every publish settles exactly once',
    );
    for (const subscriber of this.subscribers) {
      const { kind, handled, values } = subscriber;
      assert.deepEqual(this.#missing(subscriber), [], `${kind}: lost`);
      assert.deepEqual(subscriber.gaps, [], `${kind}: gaps`);
      if (kind === 'plain' || kind === 'durable') {
        const twice = [...handled].filter(([, times]) => times > 1);
        assert.deepEqual(twice, [], `${kind}: sequences handled twice`);
        if (this.#ordering === 'strict') assertFirstDeliveriesInOrder(kind, values);
      }
    }
  }

  async stop(): Promise<void> {
    this.pause();
    await Promise.all(this.clients.map((client) => client.close()));
  }
}

function assertFirstDeliveriesInOrder(kind: string, values: string[]): void {
  const next = [0, 0];
  const seen = new Set<string>();
  for (const value of values) {
    if (seen.has(value)) continue;
    seen.add(value);
    const [publisher, counter] = value.split('-').map(Number) as [number, number];
    assert.equal(counter, next[publisher], `${kind}: publisher ${publisher} out of order`);
    next[publisher] = counter + 1;
  }
}
