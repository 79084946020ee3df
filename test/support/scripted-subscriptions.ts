/**
 * A STAN server as subscriptions see it, in virtual time: channels, plain, durable and queue subscriptions, pending
 * messages, redelivery; and the faults they must survive: sessions that die, messages and acks lost on their way, leaders
 * that know less than the one before, retention, channels that start over, acks that nobody reads.
 */
import type { Clock } from '../../src/clock/clock.js';
import {
  EndRefused,
  SessionEnded,
  SubscribeRefused,
  type RawMessage,
  type Session,
  type SessionSubscription,
  type SubscribeRequest,
} from '../../src/connection/protocol.js';
import type { ResolvedSubscribeOptions } from '../../src/subscribing/subscribe-options.js';
import { EPOCH, VirtualTime } from './virtual-time.js';

/** Time for a model, whose requests and answers may take any time, also none. */
export function modelTime(): VirtualTime {
  return new VirtualTime({ exact: true });
}

/** How a client of these tests is named on the channels of `node:diagnostics_channel`. */
export const TELLER = { clientId: 'scripted', clusterId: 'test-cluster' };

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

/** What the server knows of how far a subscription is: what it sent last, and what of that is unacknowledged. */
interface Progress {
  lastSent: number;
  /** Sequence and when it expires by the model's clock, ms; 0: not known, see `performAckExpirationRedelivery`. */
  pending: Map<number, number>;
}

/**
 * What the server remembers of a subscription (`subState`). That of a durable outlives its subscriptions, and so does that
 * of the last member of a durable group (its shadow).
 */
export class Memory {
  readonly channel: Channel;
  /** The leader's. */
  progress: Progress = { lastSent: 0, pending: new Map() };
  /** The followers'. */
  told: Progress = { lastSent: 0, pending: new Map() };
  /** What the leader has not told them yet (`subSentAndAck`). */
  readonly sent = new Set<number>();
  readonly acked = new Set<number>();
  highestSent = 0;
  /** The highest one sent, if it is acknowledged. */
  highestAcked = 0;
  readonly redeliveries = new Map<number, number>();
  online = true;
  /** Its window was full when a message was due. */
  stalled = false;

  constructor(channel: Channel) {
    this.channel = channel;
  }
}

/** `queueState`. */
class Group {
  readonly key: string;
  readonly channel: Channel;
  readonly durable: boolean;
  lastSent = 0;
  /** What the followers know of that. */
  told = 0;
  members: Sub[] = [];
  readonly redeliveries = new Map<number, number>();
  /** The last member of a durable group. */
  shadow: Memory | undefined;

  constructor(key: string, channel: Channel, durable: boolean) {
    this.key = key;
    this.channel = channel;
    this.durable = durable;
  }
}

/** One life of a subscription. */
export class Sub {
  readonly session: ScriptedSession;
  readonly request: SubscribeRequest;
  readonly memory: Memory;
  readonly group: Group | undefined;
  readonly onMessage: (message: RawMessage) => void;
  /** Looks for what has expired. */
  cancelTimer: (() => void) | undefined;
  muted = false;
  gone = false;
  /** The trap of the promotion: its acks go nowhere. */
  unread = false;

  constructor(
    session: ScriptedSession,
    request: SubscribeRequest,
    memory: Memory,
    group: Group | undefined,
    onMessage: (message: RawMessage) => void,
  ) {
    this.session = session;
    this.request = request;
    this.memory = memory;
    this.group = group;
    this.onMessage = onMessage;
  }

  get channel(): Channel {
    return this.memory.channel;
  }

  get progress(): Progress {
    return this.memory.progress;
  }

  get redeliveries(): Map<number, number> {
    return (this.group ?? this.memory).redeliveries;
  }
}

/** What expires so soon is redelivered with what has expired, ms (`performAckExpirationRedelivery`). */
const EARLY = 15;
/** When the heirs of a member that left look for what they got from it, ms (`subStore.Remove`). */
const HEIRS_LOOK = 100;

/**
 * The names in brackets are those of the functions in `server/server.go` of nats-streaming-server 0.25.6 that are modelled.
 * What is not: `hasFailedHB`, `newOnHold` (nothing happens between a request and its start), batches that are told because
 * they are full, and that the leader tells them once a second: here it does at `replicate()` only, so it may be much later.
 */
export class ModelServer {
  readonly clock: Clock;
  readonly channels = new Map<string, Channel>();
  /** All requests, in their order. */
  readonly requests: SubscribeRequest[] = [];
  /** One way between client and server, ms. */
  latency = 1;
  /** By how much the next requests to close take longer, ms. */
  readonly closeDelays: number[] = [];
  /** Refuses a request with this text. */
  refuse: (request: SubscribeRequest) => string | undefined = () => undefined;
  /** Sees every message that is sent to a subscription. */
  onSend: (sub: Sub, message: Stored) => void = () => undefined;
  /** Refuses, after all its tries, to end a subscription with this text. */
  refuseEnd: (request: SubscribeRequest, drop: boolean) => string | undefined = () => undefined;
  /** Its next subscriptions have their acks read by nobody. */
  deaf = false;
  /** What the next leader's clock differs by, ms. */
  skew = 0;
  /**
   * When a member of a group leaves, and when a message goes from one member to another, only the leader knows for up to a
   * second, and the followers hear of one member after the other. What is lost in that second no client can make up for
   * (docs/verify.md, "What the server itself loses"). True: the followers of this server know at once.
   */
  groupsAreTold = true;
  /** `max_msgs` of every channel. */
  maxMessages = Infinity;
  subs: Sub[] = [];
  readonly durables = new Map<string, Memory>();
  readonly groups = new Map<string, Group>();
  #sessions = 0;

  constructor(time: VirtualTime) {
    this.clock = time.clock;
  }

  /** The clock of the leader, in ms since the epoch. It has fractions. */
  #wall(): number {
    return EPOCH + this.clock.elapsed() + this.skew;
  }

  channel(name = 'foo'): Channel {
    let channel = this.channels.get(name);
    if (channel === undefined) this.channels.set(name, (channel = new Channel(name)));
    return channel;
  }

  /** @param continued nobody else was registered under the client ID since the session before */
  connect(continued = true): ScriptedSession {
    return new ScriptedSession(this, ++this.#sessions, continued);
  }

  /** (`processMsg`.) */
  publish(value: string, name = 'foo'): number {
    const channel = this.channel(name);
    const sequence = channel.last + 1;
    channel.messages.push({ sequence, time: Math.round(this.#wall() * 1e6), value });
    this.truncate(sequence - this.maxMessages + 1, name);
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
    for (const sub of this.subs) if (sub.channel === old) this.#remove(sub);
    for (const [key, { channel }] of this.durables) if (channel === old) this.durables.delete(key);
    for (const [key, { channel }] of this.groups) if (channel === old) this.groups.delete(key);
  }

  /**
   * What the leader knows of sent and acknowledged messages reaches the followers (`subsSentAndAckReplicator`). They know
   * a subscription by the inbox of its acks, so of one that is offline they take nothing (`processReplicatedSendAndAck`).
   */
  replicate(): void {
    for (const [memory, group] of this.#memories) {
      if (memory.online) this.#tell(memory, group);
      else forget(memory);
    }
  }

  /**
   * The leader loses its lease for a moment. What it was about to tell is lost: the batch has been emptied, and nobody looks
   * at what became of it (`replicateSubSentAndAck`; `subChangesOnLeadershipLost` empties the rest). With the next batch the
   * followers learn how far the leader is, and take what was in the lost one for acknowledged.
   */
  forget(): void {
    for (const [memory] of this.#memories) forget(memory);
  }

  /** Another leader, which knows what it was told (`leadershipAcquired`). Sessions live on. */
  failover(): void {
    for (const sub of this.subs) clearTimer(sub);
    for (const [memory, group] of this.#memories) {
      forget(memory);
      memory.progress = { lastSent: memory.told.lastSent, pending: new Map() };
      for (const sequence of memory.told.pending.keys()) memory.progress.pending.set(sequence, 0);
      memory.redeliveries.clear();
      group?.redeliveries.clear();
    }
    for (const sub of this.subs) sub.memory.stalled = sub.progress.pending.size >= sub.request.maxInFlight;
    for (const group of this.groups.values()) group.lastSent = group.told;
    // `performRedeliveryOnStartup`
    for (const sub of [...this.subs]) {
      this.#setTimer(sub, sub.request.ackWait);
      this.#redeliverExpired(sub, true);
      if (sub.group === undefined) this.#sendAvailable(sub);
    }
    for (const group of this.groups.values()) this.#sendAvailableToGroup(group);
  }

  /** Every memory once, and whose it is. */
  get #memories(): Map<Memory, Group | undefined> {
    const memories = new Map<Memory, Group | undefined>();
    for (const memory of this.durables.values()) memories.set(memory, undefined);
    for (const group of this.groups.values()) if (group.shadow !== undefined) memories.set(group.shadow, group);
    for (const { memory, group } of this.subs) memories.set(memory, group);
    return memories;
  }

  /** For the sessions (`processSub`). */
  subscribe(
    session: ScriptedSession,
    request: SubscribeRequest,
    onMessage: (message: RawMessage) => void,
  ): Sub | string {
    const refusal = this.refuse(request);
    if (refusal !== undefined) return refusal;
    const channel = this.channel(request.channel);
    const { queueGroup, durableName } = request;
    let known: Memory | undefined;
    let group: Group | undefined;
    if (queueGroup !== undefined) {
      const key = `${request.channel}/${durableName ?? ''}:${queueGroup}`;
      group = this.groups.get(key);
      if (group === undefined) {
        group = new Group(key, channel, durableName !== undefined);
        group.lastSent = group.told = this.#startOf(request, channel) - 1;
        this.groups.set(key, group);
      }
      known = group.shadow;
      group.shadow = undefined;
    } else if (durableName !== undefined) {
      known = this.durables.get(`${request.channel}/${durableName}`);
      if (known?.online) return 'stan: duplicate durable registration';
    }
    const memory = known ?? new Memory(channel);
    const sub = new Sub(session, request, memory, group, onMessage);
    sub.unread = this.deaf;
    if (known !== undefined) {
      known.online = true;
      known.stalled = false;
      if (known.progress.pending.size > 0) this.#setTimer(sub, request.ackWait);
    } else if (group === undefined) {
      memory.progress.lastSent = memory.told.lastSent = this.#startOf(request, channel) - 1;
      if (durableName !== undefined) this.durables.set(`${request.channel}/${durableName}`, memory);
    }
    group?.members.push(sub);
    this.subs.push(sub);
    return sub;
  }

  /** The response is on its way: messages may follow (`processSubscriptionsStart`, `performDurableRedelivery`). */
  start(sub: Sub): void {
    if (sub.request.durableName !== undefined) {
      for (const sequence of [...sub.progress.pending.keys()].sort((a, b) => a - b)) {
        const message = this.#forRedelivery(sub, sequence);
        if (message !== undefined && sub.progress.pending.has(sequence)) this.#send(sub, message, true);
      }
    }
    if (sub.group === undefined) this.#sendAvailable(sub);
    else this.#sendAvailableToGroup(sub.group);
  }

  /** (`setSubStartSequence`.) */
  #startOf({ start }: SubscribeRequest, channel: Channel): number {
    if ('at' in start) {
      if (start.at === 'first') return channel.first;
      return start.at === 'new' ? channel.last + 1 : Math.max(channel.last, 1);
    }
    if ('ago' in start) {
      const since = (this.#wall() - start.ago) * 1e6;
      const found = channel.messages.find((m) => m.sequence >= channel.first && m.time >= since);
      return found?.sequence ?? channel.last + 1;
    }
    if (start.sequence < channel.first) return channel.first;
    return Math.min(start.sequence, channel.last + 1);
  }

  /** For the sessions. */
  ack(sub: Sub, sequence: number): void {
    if (!sub.unread && !sub.gone) this.#acknowledge(sub, sequence, true);
  }

  /** (`processAck`.) */
  #acknowledge(sub: Sub, sequence: number, byUser: boolean): void {
    const { memory, group } = sub;
    if (memory.progress.pending.delete(sequence)) {
      noteAcked(memory, sequence);
      if (byUser) sub.redeliveries.delete(sequence);
    } else if (group !== undefined && byUser) {
      const other = group.members.find((member) => member !== sub && member.progress.pending.delete(sequence));
      if (other !== undefined) {
        // That other one stays stalled until it acknowledges something itself.
        noteAcked(other.memory, sequence);
        group.redeliveries.delete(sequence);
      }
    }
    if (!memory.stalled || memory.progress.pending.size >= sub.request.maxInFlight) return;
    memory.stalled = false;
    if (group === undefined) this.#sendAvailable(sub);
    else this.#sendAvailableToGroup(group);
  }

  /**
   * For the sessions (`subStore.Remove`).
   * @param tell first the followers hear what they have not heard yet (`endSubSentAndAckReplication`): when the client asks
   *   for it, not when another one takes its place
   */
  end(sub: Sub, drop: boolean, tell = true): void {
    if (sub.gone) return;
    const { memory, group } = sub;
    const { durableName, channel } = sub.request;
    if (tell && !drop) {
      if (group !== undefined) this.#tellAll(group);
      this.#tell(memory, group);
    }
    this.#remove(sub);
    memory.online = false;
    if (group === undefined) {
      if (drop && durableName !== undefined) this.durables.delete(`${channel}/${durableName}`);
      return;
    }
    group.members = group.members.filter((other) => other !== sub);
    const heirs = [...group.members];
    if (heirs.length > 0) {
      const pending = sorted(memory.progress.pending);
      for (const [i, [sequence]] of pending.entries()) {
        const { memory: heir } = heirs[i % heirs.length]!;
        heir.progress.pending.set(sequence, this.clock.elapsed() - 1000);
        heir.progress.lastSent = Math.max(heir.progress.lastSent, sequence);
        noteSent(heir, sequence, true);
      }
      for (const heir of heirs.slice(0, pending.length)) this.#setTimer(heir, HEIRS_LOOK);
      this.#tellAll(group);
    } else if (group.durable && !drop) group.shadow = memory;
    else this.groups.delete(group.key);
  }

  #remove(sub: Sub): void {
    sub.gone = true;
    clearTimer(sub);
    this.subs = this.subs.filter((other) => other !== sub);
  }

  /** @param tell see `end` */
  endAll(session: ScriptedSession, tell = true): void {
    for (const sub of this.subs.filter((other) => other.session === session)) this.end(sub, false, tell);
  }

  /** (`sendAvailableMessages`.) */
  #sendAvailable(sub: Sub): void {
    while (!sub.gone && !sub.memory.stalled) {
      const message = nextOf(sub.channel, sub.progress);
      if (message === undefined || !this.#sendNew(sub, message)) return;
    }
  }

  /** (`sendAvailableMessagesToQueue`.) */
  #sendAvailableToGroup(group: Group): void {
    while (group.members.some(({ memory }) => !memory.stalled)) {
      const message = nextOf(group.channel, group);
      if (message === undefined || !this.#sendNew(bestOf(group), message)) return;
    }
  }

  /** (`sendMsgToSub` with `honorMaxInFlight`.) */
  #sendNew(sub: Sub, message: Stored): boolean {
    const { memory, group } = sub;
    const { size } = memory.progress.pending;
    if (size + 1 >= sub.request.maxInFlight) memory.stalled = true;
    if (size >= sub.request.maxInFlight) return false;
    this.#send(sub, message, false);
    if (group !== undefined) group.lastSent = Math.max(group.lastSent, message.sequence);
    return true;
  }

  /** (`sendMsgToSub` with `forceDelivery`.) */
  #send(sub: Sub, message: Stored, redelivered: boolean): void {
    const { sequence } = message;
    const { memory, group } = sub;
    const { pending } = memory.progress;
    const { ackWait } = sub.request;
    const count = redelivered ? (sub.redeliveries.get(sequence) ?? 0) + 1 : 0;
    if (redelivered) sub.redeliveries.set(sequence, count);
    this.onSend(sub, message);
    sub.session.toClient(sub, {
      getSequence: () => sequence,
      getTimestampRaw: () => message.time,
      getTimestampNanos: () => BigInt(Math.round(message.time)),
      isRedelivered: () => redelivered,
      getRedeliveryCount: () => count,
      getRawData: () => Buffer.from(message.value),
    });
    if (sub.cancelTimer === undefined) this.#setTimer(sub, ackWait);
    const expires = pending.get(sequence);
    if (expires !== undefined) {
      // Counted from when it was due, not from now.
      pending.set(sequence, (expires === 0 ? this.clock.elapsed() : expires) + ackWait);
      return;
    }
    noteSent(memory, sequence, group !== undefined);
    memory.progress.lastSent = Math.max(memory.progress.lastSent, sequence);
    pending.set(sequence, this.clock.elapsed() + ackWait);
  }

  #setTimer(sub: Sub, ms: number): void {
    clearTimer(sub);
    sub.cancelTimer = this.clock.after(ms, () => this.#redeliverExpired(sub, false));
  }

  /** (`performAckExpirationRedelivery`, `adjustAckTimer`.) */
  #redeliverExpired(sub: Sub, promotion: boolean): void {
    const { memory, group } = sub;
    const { pending } = memory.progress;
    for (const [sequence, expires] of pending) {
      // Only a leader before this one knew. By the clock of this one.
      const message = expires === 0 ? memory.channel.lookup(sequence) : undefined;
      if (message === undefined) continue;
      const age = this.#wall() - message.time / 1e6;
      pending.set(sequence, this.clock.elapsed() - age + sub.request.ackWait);
    }
    let next: number | undefined;
    for (const [sequence, expires] of sorted(pending)) {
      const message = this.#forRedelivery(sub, sequence);
      if (message === undefined) continue;
      if (expires > this.clock.elapsed() + EARLY) {
        next = expires;
        break;
      }
      if (!pending.has(sequence)) continue;
      const to = group === undefined || promotion ? sub : bestOf(group);
      this.#send(to, message, true);
      if (to === sub) continue;
      this.#acknowledge(sub, sequence, false);
      this.#tellAll(group!);
    }
    if (sub.gone) return;
    if (pending.size === 0) clearTimer(sub);
    else this.#setTimer(sub, next === undefined ? sub.request.ackWait : next - this.clock.elapsed());
  }

  /** What retention took is taken for acknowledged, and nobody is told (`getMsgForRedelivery`). */
  #forRedelivery(sub: Sub, sequence: number): Stored | undefined {
    const message = sub.channel.lookup(sequence);
    if (message === undefined) this.#acknowledge(sub, sequence, false);
    return message;
  }

  /** See `groupsAreTold`. */
  #tellAll(group: Group): void {
    if (this.groupsAreTold) for (const { memory } of group.members) this.#tell(memory, group);
  }

  /** (`replicateSubSentAndAck`, `processReplicatedSendAndAck`.) */
  #tell(memory: Memory, group: Group | undefined): void {
    const { sent, acked, highestAcked, told } = memory;
    for (const sequence of highestAcked === 0 ? sent : [...sent, highestAcked]) {
      told.lastSent = Math.max(told.lastSent, sequence);
      if (group !== undefined) group.told = Math.max(group.told, sequence);
      told.pending.set(sequence, 0);
    }
    for (const sequence of highestAcked === 0 ? acked : [...acked, highestAcked]) told.pending.delete(sequence);
    forget(memory);
  }
}

/** (`getNextMsg`.) */
function nextOf(channel: Channel, progress: { lastSent: number }): Stored | undefined {
  if (progress.lastSent + 1 < channel.first && channel.first <= channel.last) progress.lastSent = channel.first - 1;
  return channel.lookup(progress.lastSent + 1);
}

/** (`findBestQueueSub`.) */
function bestOf(group: Group): Sub {
  const [first] = group.members;
  const open = group.members.filter(({ memory }) => !memory.stalled);
  const best = open.length === 0 ? first! : open.reduce((a, b) => (pendingOf(b) < pendingOf(a) ? b : a));
  if (best === first) group.members = [...group.members.slice(1), best];
  return best;
}

function pendingOf({ progress }: Sub): number {
  return progress.pending.size;
}

/** (`makeSortedPendingMsgs`.) */
function sorted(pending: Map<number, number>): [sequence: number, expires: number][] {
  return [...pending].sort(([a, x], [b, y]) => (x === 0 || y === 0 || x === y ? a - b : x - y));
}

/** (`collectSentOrAck`, as is the next one.) */
function noteSent(memory: Memory, sequence: number, ofGroup: boolean): void {
  memory.sent.add(sequence);
  if (ofGroup) memory.acked.delete(sequence);
  if (sequence < memory.highestSent) return;
  memory.highestSent = sequence;
  memory.highestAcked = 0;
}

function noteAcked(memory: Memory, sequence: number): void {
  if (!memory.sent.delete(sequence)) memory.acked.add(sequence);
  else if (sequence === memory.highestSent) memory.highestAcked = sequence;
}

/** (`clearSentAndAck`.) */
function forget(memory: Memory): void {
  memory.sent.clear();
  memory.acked.clear();
  memory.highestSent = memory.highestAcked = 0;
}

function clearTimer(sub: Sub): void {
  sub.cancelTimer?.();
  sub.cancelTimer = undefined;
}

export class ScriptedSession implements Session {
  readonly ordinal: number;
  readonly continued: boolean;
  readonly server = 'nats://scripted:4222';
  readonly maxPayload = 1_048_576;
  alive = true;
  lossReason: string | undefined;
  /** So many of the next messages are lost on their way to us. */
  loseMessages = 0;
  /** So many of the next acks are lost on their way to the server. */
  loseAcks = 0;
  /** Requests get no answer. */
  mute = false;
  /** Nothing passes any more, in either direction, and the client has not noticed yet. */
  cut = false;
  /** Acks sent. */
  readonly acks: number[] = [];
  readonly #model: ModelServer;
  readonly #abandon = new Set<() => void>();

  constructor(model: ModelServer, ordinal: number, continued: boolean) {
    this.#model = model;
    this.ordinal = ordinal;
    this.continued = continued;
  }

  get pendingRequests(): number {
    return this.#abandon.size;
  }

  publish(): void {
    throw new Error('not of subscribing');
  }

  forget(): void {}

  lose(reason: string): void {
    if (!this.alive) return;
    this.lossReason = reason;
    this.kill();
  }

  /**
   * The session dies, and the server knows it: at the latest, the next one takes over, and asks it to close this one
   * (`processCloseRequest`).
   */
  kill(): void {
    if (!this.alive) return;
    this.alive = false;
    this.#model.endAll(this);
    for (const abandon of [...this.#abandon]) abandon();
  }

  /**
   * Another process connects with the same client ID, and this session does not answer: it is replaced, and the followers
   * are not told first (`processConnect`, `closeClient`).
   */
  replace(): void {
    this.cut = true;
    this.#model.endAll(this, false);
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
      const answered = (): boolean => this.#abandon.delete(abandon);
      this.#up(() =>
        act(
          (value) => {
            answered();
            resolve(value);
          },
          (error) => {
            answered();
            reject(error);
          },
        ),
      );
    });
  }

  #up(act: () => void): void {
    this.#model.clock.after(this.#model.latency, () => {
      if (this.alive && !this.cut) act();
    });
  }

  #down(act: () => void): void {
    this.#model.clock.after(this.#model.latency, () => {
      if (this.alive && !this.cut) act();
    });
  }
}

export function subscribeOptions(options: Partial<ResolvedSubscribeOptions> = {}): ResolvedSubscribeOptions {
  return { startAt: 'new', maxInFlight: 1024, ackWait: 30_000, manualAck: false, concurrency: 1, ...options };
}
