/**
 * Whose fault a refusal is. In a cluster the leader stores messages in batches, and one that it cannot take fails its whole
 * batch, those of other channels and other clients included, all with the same words. So a refusal is held against a
 * channel only when it may be true of it. Pure; times in ms of one clock.
 */
import { refusalIsAbout } from '../connection/server-texts.js';
import type { Entry, Trouble } from './records.js';
import { RecentChannels } from './recent-channels.js';

/** Back-off when a message may be refused itself: 100, 200, 400 ms. */
const BACKOFF = 100;
/**
 * Back-off when another one is most likely to blame: 25 ms, doubling, at most 1 s. Shorter, because that one must not be on its
 * way with it the next time as well.
 */
const INNOCENT_BACKOFF = { first: 25, most: 1000 };
/** Every message is sent again so often before it is given up. */
export const REFUSED_RETRIES = 3;
/** A channel that has acknowledged can have been deleted since. It is believed to refuse after so long without a break, ms. */
export const BELIEVED_AFTER = 10_000;
/** Channels whose turn to try again comes so long after one another, in ms, are most likely in different batches. */
const APART = 50;
/** But for that nobody waits longer than this, in ms. */
const APART_MOST = 1000;
/** Channels remembered for having refused something. */
const MOST_REFUSING = 10_000;

/** What a channel has done since it last acknowledged a message. */
interface Refusing {
  /** Since when it has refused, on this session; undefined until it does so. */
  since: number | undefined;
  /** When it did so last. */
  lastAt: number;
  /** For how long it refused on earlier sessions, in ms. */
  before: number;
  /** When its next turn is. */
  turnAt: number;
  /** How many of its messages were given up. */
  givenUp: number;
  /** Messages up to this one, in the order of publishing, waited while one was refused so often that it was given up. */
  doomedUpTo: number;
  /** What the server said to that one. */
  text: string;
}

export interface Verdict {
  /** Send it again after so long, in ms; undefined: give it up. */
  retryIn: number | undefined;
  /** How long its channel has refused, in ms, if that had to be shown because it has acknowledged before. */
  shownFor: number | undefined;
}

export class Refusals {
  readonly #acknowledged = new RecentChannels();
  readonly #refusing = new Map<string, Refusing>();
  /** When the turn of the channel is that was given one last. */
  #lastTurn = -Infinity;

  /** A message of this channel was acknowledged, so it exists. */
  acknowledged(channel: string): void {
    this.#acknowledged.add(channel);
    if (this.#refusing.size > 0) this.#refusing.delete(channel);
  }

  /** The session has ended: the time until the next one shows nothing. */
  interrupted(): void {
    for (const refusing of this.#refusing.values()) {
      if (refusing.since !== undefined) refusing.before += refusing.lastAt - refusing.since;
      refusing.since = undefined;
    }
  }

  /**
   * What to do with a message that was refused.
   * @param published how many messages were published so far
   */
  judge({ channel, order }: Entry, trouble: Trouble, text: string, now: number, published: number): Verdict {
    const about = refusalIsAbout(text, channel);
    const isKnown = about === undefined && this.#acknowledged.has(channel);
    if (about === 'another') return this.#innocent(trouble);
    const refusing = this.#of(channel, now);
    refusing.since ??= now;
    refusing.lastAt = now;
    const refusedFor = refusing.before + now - refusing.since;
    trouble.refusedFrom ??= published;
    if (isKnown && (trouble.retries < REFUSED_RETRIES || refusedFor < BELIEVED_AFTER)) {
      trouble.retries++;
      return this.#innocent(trouble);
    }
    if (trouble.retries < REFUSED_RETRIES) {
      return { retryIn: this.#turn(refusing, now, BACKOFF * 2 ** trouble.retries++), shownFor: undefined };
    }
    const shownFor = isKnown ? refusedFor : undefined;
    this.#acknowledged.delete(channel);
    // The first one may have been beside others' every time. From the second on, what waited behind it is judged with it.
    if (refusing.givenUp++ > 0) refusing.doomedUpTo = Math.max(refusing.doomedUpTo, trouble.refusedFrom, order);
    refusing.text = text;
    return { retryIn: undefined, shownFor };
  }

  /**
   * A message that was never sent, and waited while another one of its channel was sent four times and given up: what the
   * server said to that one. Otherwise a stream of messages to a channel that refuses would fill the outbox.
   */
  dooms({ channel, order, attempts }: Entry): string | undefined {
    if (this.#refusing.size === 0 || attempts > 0) return undefined;
    const refusing = this.#refusing.get(channel);
    return refusing !== undefined && order <= refusing.doomedUpTo ? refusing.text : undefined;
  }

  #innocent(trouble: Trouble): Verdict {
    const { first, most } = INNOCENT_BACKOFF;
    return { retryIn: Math.min(most, first * 2 ** trouble.acquitted++), shownFor: undefined };
  }

  #of(channel: string, now: number): Refusing {
    let refusing = this.#refusing.get(channel);
    if (refusing === undefined) {
      if (this.#refusing.size >= MOST_REFUSING) this.#refusing.delete(this.#refusing.keys().next().value as string);
      refusing = { since: undefined, lastAt: now, before: 0, turnAt: -Infinity, givenUp: 0, doomedUpTo: -1, text: '' };
      this.#refusing.set(channel, refusing);
    }
    return refusing;
  }

  /** Which of several channels is to blame is not known: each is tried by itself, so that it does not spoil the others. */
  #turn(refusing: Refusing, now: number, delay: number): number {
    const due = now + delay;
    if (refusing.turnAt < due) {
      refusing.turnAt = Math.min(Math.max(due, this.#lastTurn + APART), due + APART_MOST);
      this.#lastTurn = Math.max(this.#lastTurn, refusing.turnAt);
    }
    return refusing.turnAt - now;
  }
}
