/**
 * The subscriptions of a server in memory: what each of them gets, has not acknowledged, and gets again. The names in brackets are
 * those of the functions in `server/server.go` of nats-streaming-server 0.25.6 that do the same.
 */
import type { Clock } from '../../clock/clock.js';
import type { RawMessage, SubscribeRequest } from '../../connection/protocol.js';
import type { Channel, MemoryMessage } from './channel.js';

/** What expires so soon is redelivered with what has expired, in ms (`performAckExpirationRedelivery`). */
const EARLY = 15;

/** What the server remembers of a subscription (`subState`). That of a durable outlives its subscriptions. */
class Place {
  readonly channel: Channel;
  lastSent = 0;
  /** The messages that are sent and not acknowledged, by sequence: when they expire, in ms of the clock. */
  readonly pending = new Map<number, number>();
  readonly redeliveries = new Map<number, number>();
  online = true;
  /** Whether its window was full when a message was due. */
  stalled = false;

  constructor(channel: Channel) {
    this.channel = channel;
  }
}

/** A queue group (`queueState`). */
class Group {
  readonly key: string;
  readonly channel: Channel;
  readonly durable: boolean;
  lastSent: number;
  members: Delivery[] = [];
  readonly redeliveries = new Map<number, number>();
  /** What the last member of a durable group has left. */
  shadow: { place: Place; request: SubscribeRequest } | undefined;

  constructor(key: string, channel: Channel, durable: boolean, lastSent: number) {
    this.key = key;
    this.channel = channel;
    this.durable = durable;
    this.lastSent = lastSent;
  }
}

/** Whoever has subscribed. */
export interface Subscriber {
  readonly clientId: string;
}

/** One life of a subscription. */
export class Delivery {
  readonly subscriber: Subscriber;
  readonly request: SubscribeRequest;
  readonly place: Place;
  readonly group: Group | undefined;
  /** Sends a message to the client. */
  readonly send: (message: RawMessage) => void;
  /** Cancels the look for what has expired. */
  cancelTimer: (() => void) | undefined;
  over = false;

  constructor(
    subscriber: Subscriber,
    request: SubscribeRequest,
    place: Place,
    group: Group | undefined,
    send: (message: RawMessage) => void,
  ) {
    this.subscriber = subscriber;
    this.request = request;
    this.place = place;
    this.group = group;
    this.send = send;
  }

  get redeliveries(): Map<number, number> {
    return (this.group ?? this.place).redeliveries;
  }
}

/** What a server shows of a subscription. */
export interface Shown {
  clientId: string | undefined;
  request: SubscribeRequest;
  place: Place;
}

export class Deliveries {
  readonly #clock: Clock;
  readonly #channel: (name: string) => Channel;
  #deliveries: Delivery[] = [];
  readonly #durables = new Map<string, { place: Place; request: SubscribeRequest; clientId: string }>();
  readonly #groups = new Map<string, Group>();

  /** @param channel returns the channel of that name, which there is from then on */
  constructor(clock: Clock, channel: (name: string) => Channel) {
    this.#clock = clock;
    this.#channel = channel;
  }

  /** All subscriptions, and the durables that are not in use. */
  get shown(): Shown[] {
    const online = this.#deliveries.map(({ subscriber: { clientId }, request, place }) => ({
      clientId,
      request,
      place,
    }));
    const durables = [...this.#durables.values()].filter(({ place }) => !place.online);
    const shadows = [...this.#groups.values()].flatMap(({ shadow }) =>
      shadow === undefined ? [] : [{ ...shadow, clientId: undefined }],
    );
    return [...online, ...durables, ...shadows];
  }

  /** Forgets everything. */
  clear(): void {
    for (const delivery of this.#deliveries) remove(delivery);
    this.#deliveries = [];
    this.#durables.clear();
    this.#groups.clear();
  }

  /**
   * Makes a subscription (`processSub`). Its messages follow after {@link start}.
   * @returns the server's text, if it refuses
   */
  subscribe(subscriber: Subscriber, request: SubscribeRequest, send: (message: RawMessage) => void): Delivery | string {
    const { queueGroup, durableName } = request;
    const channel = this.#channel(request.channel);
    let known: Place | undefined;
    let group: Group | undefined;
    if (queueGroup !== undefined) {
      if (durableName?.includes(':'))
        return "stan: durable name of a durable queue subscriber can't contain the character ':'";
      group = this.#group(channel, queueGroup, request);
      known = group.shadow?.place;
      group.shadow = undefined;
    } else if (durableName !== undefined) {
      known = this.#durables.get(durableKey(subscriber, request))?.place;
      if (known?.online) return 'stan: duplicate durable registration';
    }
    const place = known ?? new Place(channel);
    const delivery = new Delivery(subscriber, request, place, group, send);
    place.online = true;
    place.stalled = place.pending.size >= request.maxInFlight;
    if (known === undefined && group === undefined) place.lastSent = this.#startOf(request, channel) - 1;
    if (durableName !== undefined && group === undefined) {
      this.#durables.set(durableKey(subscriber, request), { place, request, clientId: subscriber.clientId });
    }
    group?.members.push(delivery);
    this.#deliveries.push(delivery);
    return delivery;
  }

  #group(channel: Channel, queueGroup: string, request: SubscribeRequest): Group {
    const { durableName } = request;
    const key = JSON.stringify([channel.name, queueGroup, durableName]);
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = new Group(key, channel, durableName !== undefined, this.#startOf(request, channel) - 1);
      this.#groups.set(key, group);
    }
    return group;
  }

  /** Begins to send (`processSubscriptionsStart`, `performDurableRedelivery`). */
  start(delivery: Delivery): void {
    const { pending } = delivery.place;
    for (const sequence of [...pending.keys()].sort((a, b) => a - b)) {
      const message = this.#forRedelivery(delivery, sequence);
      if (message !== undefined && pending.has(sequence)) this.#send(delivery, message, true);
    }
    if (delivery.group === undefined) this.#sendAvailable(delivery);
    else this.#sendAvailableToGroup(delivery.group);
  }

  /** Sends what a channel has got to all who are due it. */
  stored(channel: Channel): void {
    for (const delivery of this.#deliveries) {
      if (delivery.place.channel === channel && delivery.group === undefined) this.#sendAvailable(delivery);
    }
    for (const group of this.#groups.values()) if (group.channel === channel) this.#sendAvailableToGroup(group);
  }

  /** Takes an acknowledgement (`processAck`). */
  ack(delivery: Delivery, sequence: number): void {
    if (!delivery.over) this.#acknowledge(delivery, sequence, true);
  }

  /**
   * Ends a subscription (`subStore.Remove`).
   * @param drop whether the server forgets a durable
   */
  end(delivery: Delivery, drop: boolean): void {
    if (delivery.over) return;
    const { place, group, request, subscriber } = delivery;
    remove(delivery);
    this.#deliveries = this.#deliveries.filter((other) => other !== delivery);
    place.online = false;
    if (group === undefined) {
      if (drop && request.durableName !== undefined) this.#durables.delete(durableKey(subscriber, request));
      return;
    }
    group.members = group.members.filter((other) => other !== delivery);
    const heirs = [...group.members];
    if (heirs.length === 0) {
      if (group.durable && !drop) group.shadow = { place, request };
      else this.#groups.delete(group.key);
      return;
    }
    // The others get what it has not acknowledged.
    for (const [index, [sequence]] of sorted(place.pending).entries()) {
      const message = group.channel.lookup(sequence);
      if (message !== undefined) this.#send(heirs[index % heirs.length]!, message, true);
    }
  }

  /** Ends all subscriptions of a client. */
  endAll(subscriber: Subscriber): void {
    for (const delivery of this.#deliveries) if (delivery.subscriber === subscriber) this.end(delivery, false);
  }

  /** (`setSubStartSequence`.) */
  #startOf({ start }: SubscribeRequest, channel: Channel): number {
    const { first, last } = channel;
    if ('at' in start) {
      if (start.at === 'first') return first;
      return start.at === 'new' ? last + 1 : Math.max(last, 1);
    }
    if ('ago' in start) {
      const since = this.#clock.elapsed() - start.ago;
      return channel.messages.find(({ at }) => at >= since)?.sequence ?? last + 1;
    }
    return Math.min(Math.max(start.sequence, first), last + 1);
  }

  #acknowledge(delivery: Delivery, sequence: number, byUser: boolean): void {
    const { place, group, request } = delivery;
    if (place.pending.delete(sequence)) {
      if (byUser) delivery.redeliveries.delete(sequence);
    } else if (group !== undefined && byUser) {
      // It went to another member meanwhile.
      if (group.members.some((member) => member !== delivery && member.place.pending.delete(sequence)))
        group.redeliveries.delete(sequence);
    }
    if (place.pending.size === 0) clear(delivery);
    if (!place.stalled || place.pending.size >= request.maxInFlight) return;
    place.stalled = false;
    if (group === undefined) this.#sendAvailable(delivery);
    else this.#sendAvailableToGroup(group);
  }

  /** (`sendAvailableMessages`.) */
  #sendAvailable(delivery: Delivery): void {
    while (!delivery.over && !delivery.place.stalled) {
      const message = nextOf(delivery.place.channel, delivery.place);
      if (message === undefined || !this.#sendNew(delivery, message)) return;
    }
  }

  /** (`sendAvailableMessagesToQueue`.) */
  #sendAvailableToGroup(group: Group): void {
    while (group.members.some(({ place }) => !place.stalled)) {
      const message = nextOf(group.channel, group);
      if (message === undefined || !this.#sendNew(bestOf(group), message)) return;
      group.lastSent = message.sequence;
    }
  }

  /** (`sendMsgToSub` with `honorMaxInFlight`.) Returns whether it was sent. */
  #sendNew(delivery: Delivery, message: MemoryMessage): boolean {
    const { place, request } = delivery;
    const { size } = place.pending;
    if (size + 1 >= request.maxInFlight) place.stalled = true;
    if (size >= request.maxInFlight) return false;
    this.#send(delivery, message, false);
    return true;
  }

  /** (`sendMsgToSub` with `forceDelivery`.) */
  #send(delivery: Delivery, message: MemoryMessage, redelivered: boolean): void {
    const { sequence } = message;
    const { place, redeliveries, request } = delivery;
    const count = redelivered ? (redeliveries.get(sequence) ?? 0) + 1 : 0;
    if (redelivered) redeliveries.set(sequence, count);
    place.lastSent = Math.max(place.lastSent, sequence);
    place.pending.set(sequence, this.#clock.elapsed() + request.ackWait);
    if (delivery.cancelTimer === undefined) this.#setTimer(delivery, request.ackWait);
    delivery.send(asReceived(message, count));
  }

  #setTimer(delivery: Delivery, delay: number): void {
    delivery.cancelTimer?.();
    delivery.cancelTimer = this.#clock.after(delay, () => this.#redeliverExpired(delivery));
  }

  /** (`performAckExpirationRedelivery`, `adjustAckTimer`.) */
  #redeliverExpired(delivery: Delivery): void {
    const { place, group, request } = delivery;
    const { pending } = place;
    delivery.cancelTimer = undefined;
    const now = this.#clock.elapsed();
    for (const [sequence, expires] of sorted(pending)) {
      if (expires > now + EARLY) break;
      const message = this.#forRedelivery(delivery, sequence);
      if (message === undefined || !pending.has(sequence)) continue;
      const to = group === undefined ? delivery : bestOf(group);
      this.#send(to, message, true);
      if (to !== delivery) this.#acknowledge(delivery, sequence, false);
    }
    if (delivery.over || pending.size === 0) return;
    const next = Math.min(...pending.values());
    this.#setTimer(delivery, Math.min(next - this.#clock.elapsed(), request.ackWait));
  }

  /** What the limits of the channel took is taken for acknowledged (`getMsgForRedelivery`). */
  #forRedelivery(delivery: Delivery, sequence: number): MemoryMessage | undefined {
    const message = delivery.place.channel.lookup(sequence);
    if (message === undefined) this.#acknowledge(delivery, sequence, false);
    return message;
  }
}

function durableKey({ clientId }: Subscriber, { channel, durableName }: SubscribeRequest): string {
  return JSON.stringify([clientId, channel, durableName]);
}

function remove(delivery: Delivery): void {
  delivery.over = true;
  clear(delivery);
}

/** Nothing that it has can expire. */
function clear(delivery: Delivery): void {
  delivery.cancelTimer?.();
  delivery.cancelTimer = undefined;
}

function asReceived(message: MemoryMessage, count: number): RawMessage {
  return {
    getSequence: () => message.sequence,
    getTimestampRaw: () => Number(message.nanos),
    getTimestampNanos: () => message.nanos,
    isRedelivered: () => count > 0,
    getRedeliveryCount: () => count,
    // A copy, because the handler may write into it.
    getRawData: () => Buffer.from(message.data),
  };
}

/** (`getNextMsg`.) */
function nextOf(channel: Channel, at: { lastSent: number }): MemoryMessage | undefined {
  if (at.lastSent + 1 < channel.first && channel.first <= channel.last) at.lastSent = channel.first - 1;
  return channel.lookup(at.lastSent + 1);
}

/** The member that gets the next message (`findBestQueueSub`). */
function bestOf(group: Group): Delivery {
  const first = group.members[0]!;
  const open = group.members.filter(({ place }) => !place.stalled);
  const best = open.length === 0 ? first : open.reduce((a, b) => (b.place.pending.size < a.place.pending.size ? b : a));
  if (best === first) group.members = [...group.members.slice(1), best];
  return best;
}

/** (`makeSortedPendingMsgs`.) */
function sorted(pending: ReadonlyMap<number, number>): [sequence: number, expires: number][] {
  return [...pending].sort(([a, x], [b, y]) => (x === y ? a - b : x - y));
}
