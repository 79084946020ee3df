/**
 * A STAN server as subscriptions see it, in virtual time: channels, plain, durable and queue subscriptions, pending
 * messages, redelivery; and the faults they must survive: sessions that die, messages and acks lost on their way, leaders
 * that know less than the one before, retention, channels that start over, acks that nobody reads.
 */
import {
  EndRefused,
  SessionEnded,
  SubscribeRefused,
  type RawMessage,
  type Session,
  type SessionSubscription,
  type SubscribeRequest,
} from '../../src/connection/protocol.js';
import type { Clock } from '../../src/subscribing/clock.js';
import type { ResolvedSubscribeOptions } from '../../src/options.js';

/** Time stands still until told to advance; promises settle at every stop. */
export class SimulatedClock implements Clock {
  #now = 1000;
  #order = 0;
  #soon: (() => void)[] = [];
  readonly #timers: { at: number; order: number; callback: () => void; cancelled: boolean }[] = [];

  now(): number {
    return this.#now;
  }

  wallClock(): number {
    return 1_700_000_000_000 + this.#now;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer = { at: this.#now + milliseconds, order: this.#order++, callback, cancelled: false };
    let i = this.#timers.length;
    while (i > 0 && this.#timers[i - 1]!.at > timer.at) i--;
    this.#timers.splice(i, 0, timer);
    return () => {
      timer.cancelled = true;
      const at = this.#timers.indexOf(timer);
      if (at >= 0) this.#timers.splice(at, 1);
    };
  }

  soon(callback: () => void): void {
    this.#soon.push(callback);
  }

  /** Timers that are set. */
  get armed(): number {
    return this.#timers.length;
  }

  /** Everything that runs without time passing. */
  async settle(): Promise<void> {
    await this.advance(0);
  }

  async advance(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds;
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#soon.length > 0) {
        const soon = this.#soon;
        this.#soon = [];
        for (const callback of soon) callback();
        continue;
      }
      const next = this.#timers[0];
      if (next === undefined || next.at > end) break;
      this.#now = Math.max(this.#now, next.at);
      while (this.#timers[0] !== undefined && this.#timers[0].at <= this.#now) {
        const timer = this.#timers.shift()!;
        if (!timer.cancelled) timer.callback();
      }
    }
    this.#now = end;
  }
}

export interface Stored {
  sequence: number;
  /** ns */
  time: number;
  value: string;
}

export class Channel {
  readonly name: string;
  first = 1;
  readonly messages: Stored[] = [];

  constructor(name: string) {
    this.name = name;
  }

  get last(): number {
    return this.messages.length;
  }

  lookup(sequence: number): Stored | undefined {
    return sequence < this.first ? undefined : this.messages[sequence - 1];
  }
}

/** What the server knows of how far a subscription is. */
interface Progress {
  lastSent: number;
  pending: Map<number, number>;
}

class Group {
  readonly key: string;
  readonly channel: Channel;
  readonly durable: boolean;
  lastSent = 0;
  /** What the followers know of that. */
  replicated = 0;
  members: Sub[] = [];
  /** Pending of a durable group without members. */
  shadow = new Map<number, number>();

  constructor(key: string, channel: Channel, durable: boolean) {
    this.key = key;
    this.channel = channel;
    this.durable = durable;
  }
}

export class Sub {
  readonly session: ScriptedSession;
  readonly request: SubscribeRequest;
  readonly channel: Channel;
  readonly onMessage: (message: RawMessage) => void;
  progress: Progress = { lastSent: 0, pending: new Map() };
  /** What the followers know. */
  replicated: Progress = { lastSent: 0, pending: new Map() };
  readonly redeliveries = new Map<number, number>();
  group: Group | undefined;
  muted = false;
  gone = false;
  /** The trap of the promotion: its acks go nowhere. */
  unread = false;

  constructor(
    session: ScriptedSession,
    request: SubscribeRequest,
    channel: Channel,
    onMessage: (message: RawMessage) => void,
  ) {
    this.session = session;
    this.request = request;
    this.channel = channel;
    this.onMessage = onMessage;
  }

  get stalled(): boolean {
    return this.progress.pending.size >= this.request.maxInFlight;
  }
}

export class ModelServer {
  readonly clock: SimulatedClock;
  readonly channels = new Map<string, Channel>();
  /** All requests, in their order. */
  readonly requests: SubscribeRequest[] = [];
  /** One way between client and server, ms. */
  latency = 1;
  /** By how much the next requests to close take longer, ms. */
  readonly closeDelays: number[] = [];
  /** Refuses a request with this text. */
  refuse: (request: SubscribeRequest) => string | undefined = () => undefined;
  /** Refuses, after all its tries, to end a subscription with this text. */
  refuseEnd: (request: SubscribeRequest, drop: boolean) => string | undefined = () => undefined;
  /** Its next subscriptions have their acks read by nobody. */
  deaf = false;
  /** What the next leader's clock differs by, ms. */
  skew = 0;
  subs: Sub[] = [];
  readonly durables = new Map<string, { progress: Progress; online: boolean; channel: Channel }>();
  readonly groups = new Map<string, Group>();
  #sessions = 0;

  constructor(clock: SimulatedClock) {
    this.clock = clock;
  }

  channel(name = 'foo'): Channel {
    let channel = this.channels.get(name);
    if (channel === undefined) this.channels.set(name, (channel = new Channel(name)));
    return channel;
  }

  connect(): ScriptedSession {
    return new ScriptedSession(this, ++this.#sessions);
  }

  publish(value: string, name = 'foo'): number {
    const channel = this.channel(name);
    const sequence = channel.last + 1;
    channel.messages.push({ sequence, time: Math.round((this.clock.wallClock() + this.skew) * 1e6), value });
    for (const sub of this.subs) if (sub.channel === channel && sub.group === undefined) this.#sendAvailable(sub);
    for (const group of this.groups.values()) if (group.channel === channel) this.#sendAvailableToGroup(group);
    return sequence;
  }

  /** Retention: everything below is gone. */
  truncate(first: number, name = 'foo'): void {
    const channel = this.channel(name);
    channel.first = Math.max(channel.first, Math.min(first, channel.last + 1));
  }

  /** The channel is deleted, with all that is known of its subscriptions. */
  reset(name = 'foo'): void {
    const old = this.channels.get(name);
    this.channels.delete(name);
    for (const sub of this.subs) if (sub.channel === old) sub.gone = true;
    this.subs = this.subs.filter((sub) => !sub.gone);
    for (const [key, { channel }] of this.durables) if (channel === old) this.durables.delete(key);
    for (const [key, { channel }] of this.groups) if (channel === old) this.groups.delete(key);
  }

  /** What the leader knows of sent and acknowledged messages reaches the followers. */
  replicate(): void {
    for (const sub of this.subs) sub.replicated = copy(sub.progress);
    for (const group of this.groups.values()) group.replicated = group.lastSent;
  }

  /** Another leader, which knows what was replicated. Sessions live on. */
  failover(): void {
    for (const sub of this.subs) {
      sub.progress = copy(sub.replicated);
      sub.redeliveries.clear();
    }
    for (const group of this.groups.values()) group.lastSent = group.replicated;
    for (const sub of [...this.subs]) {
      for (const [sequence, expires] of [...sub.progress.pending].sort(([a], [b]) => a - b)) {
        if (expires <= this.clock.now()) this.#redeliver(sub, sequence);
        else this.#expireLater(sub, sequence);
      }
      if (sub.group === undefined) this.#sendAvailable(sub);
    }
    for (const group of this.groups.values()) this.#sendAvailableToGroup(group);
  }

  /** For the sessions. */
  subscribe(
    session: ScriptedSession,
    request: SubscribeRequest,
    onMessage: (message: RawMessage) => void,
  ): Sub | string {
    const refusal = this.refuse(request);
    if (refusal !== undefined) return refusal;
    const channel = this.channel(request.channel);
    const sub = new Sub(session, request, channel, onMessage);
    sub.unread = this.deaf;
    const { queueGroup, durableName } = request;
    if (queueGroup !== undefined) {
      const key = `${request.channel}/${durableName ?? ''}:${queueGroup}`;
      let group = this.groups.get(key);
      if (group === undefined) {
        group = new Group(key, channel, durableName !== undefined);
        group.lastSent = group.replicated = this.#startOf(request, channel) - 1;
        this.groups.set(key, group);
      }
      sub.group = group;
      sub.progress.lastSent = group.lastSent;
      if (group.members.length === 0) {
        sub.progress.pending = group.shadow;
        group.shadow = new Map();
      }
      group.members.push(sub);
    } else if (durableName !== undefined) {
      const known = this.durables.get(`${request.channel}/${durableName}`);
      if (known?.online) return 'stan: duplicate durable registration';
      if (known !== undefined) {
        sub.progress = known.progress;
        known.online = true;
      } else {
        sub.progress.lastSent = this.#startOf(request, channel) - 1;
        this.durables.set(`${request.channel}/${durableName}`, { progress: sub.progress, online: true, channel });
      }
    } else {
      sub.progress.lastSent = this.#startOf(request, channel) - 1;
    }
    sub.replicated = copy(sub.progress);
    this.subs.push(sub);
    return sub;
  }

  /** The response is on its way: messages may follow. */
  start(sub: Sub): void {
    if (sub.request.durableName !== undefined) {
      for (const sequence of [...sub.progress.pending.keys()].sort((a, b) => a - b)) this.#redeliver(sub, sequence);
    }
    if (sub.group === undefined) this.#sendAvailable(sub);
    else this.#sendAvailableToGroup(sub.group);
  }

  #startOf({ start }: SubscribeRequest, channel: Channel): number {
    if ('at' in start) {
      if (start.at === 'first') return channel.first;
      return start.at === 'new' ? channel.last + 1 : Math.max(channel.last, 1);
    }
    if ('ago' in start) {
      const since = (this.clock.wallClock() + this.skew - start.ago) * 1e6;
      const found = channel.messages.find((m) => m.sequence >= channel.first && m.time >= since);
      return found?.sequence ?? channel.last + 1;
    }
    if (start.sequence < channel.first) return channel.first;
    return Math.min(start.sequence, channel.last + 1);
  }

  ack(sub: Sub, sequence: number): void {
    if (sub.unread || sub.gone) return;
    if (!sub.progress.pending.delete(sequence) && sub.group !== undefined) {
      for (const member of sub.group.members) if (member.progress.pending.delete(sequence)) break;
    }
    sub.redeliveries.delete(sequence);
    if (sub.group === undefined) this.#sendAvailable(sub);
    else this.#sendAvailableToGroup(sub.group);
  }

  end(sub: Sub, drop: boolean): void {
    if (sub.gone) return;
    sub.gone = true;
    this.subs = this.subs.filter((other) => other !== sub);
    const { durableName } = sub.request;
    const { group } = sub;
    if (group !== undefined) {
      group.members = group.members.filter((other) => other !== sub);
      const [heir] = group.members;
      if (heir !== undefined) {
        for (const sequence of [...sub.progress.pending.keys()].sort((a, b) => a - b)) {
          heir.progress.pending.set(sequence, this.clock.now());
          // In truth only the leader knows, for up to a second: no client can make up for that.
          heir.replicated.pending.set(sequence, this.clock.now());
          this.clock.after(100, () => this.#expire(heir, sequence));
        }
      } else if (group.durable && !drop) group.shadow = sub.progress.pending;
      else this.groups.delete(group.key);
    } else if (durableName !== undefined) {
      const key = `${sub.request.channel}/${durableName}`;
      if (drop) this.durables.delete(key);
      else this.durables.set(key, { progress: sub.progress, online: false, channel: sub.channel });
    }
  }

  endAll(session: ScriptedSession): void {
    for (const sub of this.subs.filter((other) => other.session === session)) this.end(sub, false);
  }

  #sendAvailable(sub: Sub): void {
    while (!sub.gone && !sub.stalled) {
      const next = Math.max(sub.progress.lastSent + 1, sub.channel.first);
      const message = sub.channel.lookup(next);
      if (message === undefined) return;
      sub.progress.lastSent = next;
      this.#send(sub, message, false);
    }
  }

  #sendAvailableToGroup(group: Group): void {
    for (;;) {
      const open = group.members.filter((m) => !m.stalled);
      if (open.length === 0) return;
      const next = Math.max(group.lastSent + 1, group.channel.first);
      const message = group.channel.lookup(next);
      if (message === undefined) return;
      const member = open.reduce((a, b) => (b.progress.pending.size < a.progress.pending.size ? b : a));
      group.lastSent = next;
      member.progress.lastSent = next;
      // Whoever is first in the list goes to its end.
      group.members = [...group.members.filter((m) => m !== member), member];
      this.#send(member, message, false);
    }
  }

  #send(sub: Sub, message: Stored, redelivered: boolean): void {
    const { sequence } = message;
    sub.progress.pending.set(sequence, this.clock.now() + sub.request.ackWait);
    this.#expireLater(sub, sequence);
    const count = redelivered ? (sub.redeliveries.get(sequence) ?? 0) + 1 : 0;
    if (redelivered) sub.redeliveries.set(sequence, count);
    sub.session.toClient(sub, {
      getSequence: () => sequence,
      getTimestampRaw: () => message.time,
      isRedelivered: () => redelivered,
      getRedeliveryCount: () => count,
      getRawData: () => Buffer.from(message.value),
    });
  }

  #expireLater(sub: Sub, sequence: number): void {
    const expires = sub.progress.pending.get(sequence);
    if (expires !== undefined)
      this.clock.after(Math.max(0, expires - this.clock.now()), () => this.#expire(sub, sequence));
  }

  #expire(sub: Sub, sequence: number): void {
    const expires = sub.progress.pending.get(sequence);
    if (sub.gone || expires === undefined || expires > this.clock.now()) return;
    const { group } = sub;
    if (group === undefined) {
      this.#redeliver(sub, sequence);
      return;
    }
    const heir = group.members.reduce((a, b) => (b.progress.pending.size < a.progress.pending.size ? b : a));
    if (heir !== sub) {
      sub.progress.pending.delete(sequence);
      // See above.
      heir.replicated.pending.set(sequence, expires);
    }
    this.#redeliver(heir, sequence);
  }

  #redeliver(sub: Sub, sequence: number): void {
    const message = sub.channel.lookup(sequence);
    if (message === undefined) {
      sub.progress.pending.delete(sequence);
      return;
    }
    this.#send(sub, message, true);
  }
}

function copy({ lastSent, pending }: Progress): Progress {
  return { lastSent, pending: new Map(pending) };
}

export class ScriptedSession implements Session {
  readonly continued: boolean = true;
  readonly ordinal: number;
  readonly server = 'nats://scripted:4222';
  readonly maxPayload = 1_048_576;
  alive = true;
  lossReason: string | undefined;
  doubts = 0;
  /** So many of the next messages are lost on their way to us. */
  loseMessages = 0;
  /** So many of the next acks are lost on their way to the server. */
  loseAcks = 0;
  /** Requests get no answer. */
  mute = false;
  /** Acks sent. */
  readonly acks: number[] = [];
  readonly #model: ModelServer;
  readonly #abandon = new Set<() => void>();

  constructor(model: ModelServer, ordinal: number) {
    this.#model = model;
    this.ordinal = ordinal;
  }

  publish(): void {
    throw new Error('not of subscribing');
  }

  forget(): void {}
  heardAck(): void {}
  owed(): void {}
  doubt(): void {
    this.doubts++;
  }

  lose(reason: string): void {
    if (!this.alive) return;
    this.lossReason = reason;
    this.kill();
  }

  /** The session dies, and the server knows it: at the latest, the next one takes over. */
  kill(): void {
    if (!this.alive) return;
    this.alive = false;
    this.#model.endAll(this);
    for (const abandon of [...this.#abandon]) abandon();
  }

  subscribe(
    request: SubscribeRequest,
    onMessage: (message: RawMessage) => void,
    onMade: (subscription: SessionSubscription) => void,
  ): Promise<SessionSubscription> {
    this.#model.requests.push(request);
    return this.#ask((resolve, reject) => {
      const made = this.#model.subscribe(this, request, onMessage);
      if (typeof made === 'string') {
        this.#down(() => reject(new SubscribeRefused(made)));
        return;
      }
      this.#down(() => {
        const handle = this.#handle(made);
        onMade(handle);
        resolve(handle);
      });
      this.#model.start(made);
    });
  }

  /** For the server. */
  toClient(sub: Sub, message: RawMessage): void {
    if (this.loseMessages > 0) {
      this.loseMessages--;
      return;
    }
    this.#down(() => {
      if (!sub.muted) sub.onMessage(message);
    });
  }

  #handle(sub: Sub): SessionSubscription {
    let ended: Promise<void> | undefined;
    const end = (drop: boolean): Promise<void> => {
      sub.muted = true;
      return (ended ??= this.#ask<void>((resolve, reject) => {
        this.#model.clock.after(this.#model.closeDelays.shift() ?? 0, () => {
          if (!this.alive) return;
          const refusal = this.#model.refuseEnd(sub.request, drop);
          if (refusal !== undefined) {
            this.#down(() => reject(new EndRefused(refusal)));
            return;
          }
          this.#model.end(sub, drop);
          this.#down(resolve);
        });
      }));
    };
    return {
      ack: (sequence) => {
        if (!this.alive || ended !== undefined) return;
        this.acks.push(sequence);
        if (this.loseAcks > 0) this.loseAcks--;
        else this.#up(() => this.#model.ack(sub, sequence));
      },
      mute: () => {
        sub.muted = true;
      },
      close: () => end(false),
      unsubscribe: () => end(true),
    };
  }

  #ask<T>(act: (resolve: (value: T) => void, reject: (error: Error) => void) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (!this.alive) {
        reject(new SessionEnded('the session has ended'));
        return;
      }
      const abandon = (): void => reject(new SessionEnded('the session has ended'));
      this.#abandon.add(abandon);
      if (this.mute) return;
      this.#up(() => act(resolve, reject));
    });
  }

  #up(act: () => void): void {
    this.#model.clock.after(this.#model.latency, () => {
      if (this.alive) act();
    });
  }

  #down(act: () => void): void {
    this.#model.clock.after(this.#model.latency, () => {
      if (this.alive) act();
    });
  }
}

export function subscribeOptions(options: Partial<ResolvedSubscribeOptions> = {}): ResolvedSubscribeOptions {
  return { startAt: 'new', maxInFlight: 1024, ackWait: 30_000, manualAck: false, concurrency: 1, ...options };
}
