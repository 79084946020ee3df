/** What is behind a {@link MemoryServer}: its state, and all that clients and sessions need of it. */
import { Channel, type MemoryMessage } from './channel.js';
import { Deliveries } from './deliveries.js';
import type { GatewayHost, MemorySearch } from './gateway.js';
import type { MemorySession } from './session.js';
import { MemoryTime } from './time.js';
import { Traffic } from './traffic.js';
import { turn } from './turns.js';

/** The turns of the event loop that the body of a loop is waited for, while nothing else happens. */
const PATIENCE = 20;

/** A client, as the broker sees it. */
export interface Guest {
  /** Whether it has no session, and will have one without anybody's help. */
  readonly coming: boolean;
  /** Resolves when that may have changed. */
  changed(): Promise<void>;
  /** Whether a handler runs. */
  readonly handling: boolean;
  /** Resolves when no handler runs. */
  handled(): Promise<void>;
  /** Whether a handler or the body of a loop runs. */
  readonly busy: boolean;
}

export interface BrokerSettings {
  readonly clusterId: string;
  /** In bytes. */
  readonly maxPayload: number;
  /** How many messages each channel keeps. */
  readonly maxMessages: number;
}

export class Broker implements GatewayHost {
  readonly url = 'nats://memory:4222';
  readonly clusterId: string;
  readonly maxPayload: number;
  readonly traffic = new Traffic();
  readonly time = new MemoryTime();
  readonly deliveries: Deliveries;
  readonly searches = new Set<MemorySearch>();
  readonly registrations = new Map<string, MemorySession>();
  readonly channels = new Map<string, Channel>();
  /** The clients that are not closed. */
  readonly guests = new Set<Guest>();
  readonly #maxMessages: number;
  #up = true;

  constructor({ clusterId, maxPayload, maxMessages }: BrokerSettings) {
    this.clusterId = clusterId;
    this.maxPayload = maxPayload;
    this.#maxMessages = maxMessages;
    this.deliveries = new Deliveries(this.time, (name) => this.#channel(name));
  }

  get up(): boolean {
    return this.#up;
  }

  #channel(name: string): Channel {
    let channel = this.channels.get(name);
    if (channel === undefined) this.channels.set(name, (channel = new Channel(name)));
    return channel;
  }

  store(name: string, data: Buffer, clientId: string | undefined): MemoryMessage {
    const channel = this.#channel(name);
    const message = channel.store(data, clientId, this.time.stamp(), this.#maxMessages);
    this.deliveries.stored(channel);
    return message;
  }

  ended(session: MemorySession, free: boolean): void {
    this.deliveries.endAll(session);
    if (free && this.registrations.get(session.clientId) === session) this.registrations.delete(session.clientId);
  }

  /** Ends sessions: that of a client, or all. */
  disconnect(clientId: string | undefined, why: string): void {
    for (const session of [...this.registrations.values()]) {
      if (clientId === undefined || session.clientId === clientId)
        session.lose('disconnect', `the connection to ${this.url} ended: ${why}`);
    }
  }

  down(): void {
    if (!this.#up) return;
    this.#up = false;
    this.disconnect(undefined, 'outage() was called');
  }

  comeUp(): void {
    if (this.#up) return;
    this.#up = true;
    for (const search of [...this.searches]) search.cameUp();
  }

  wipe(): void {
    this.disconnect(undefined, 'wipe() was called');
    this.registrations.clear();
    this.deliveries.clear();
    this.channels.clear();
  }

  async idle(): Promise<void> {
    for (let patience = PATIENCE; ;) {
      const { arrived } = this.traffic;
      await this.traffic.settled();
      const guests = [...this.guests];
      const coming = guests.find((guest) => guest.coming);
      if (coming !== undefined) await coming.changed();
      else if (guests.some(({ handling }) => handling)) await Promise.all(guests.map((guest) => guest.handled()));
      else if (this.traffic.arrived !== arrived) patience = PATIENCE;
      else if (patience-- > 0 && guests.some(({ busy }) => busy)) await turn();
      else return;
    }
  }

  async advance(ms: number): Promise<void> {
    await this.time.advance(ms, () => this.traffic.settled());
  }
}
