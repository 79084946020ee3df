/**
 * Decides whose fault a refusal is. The leader of a cluster stores messages in batches. A message that it cannot take fails its whole
 * batch, other channels and other clients included, all with the same words. So a refusal counts against a channel only when it
 * may be true of it. Pure; times are in ms of one clock.
 */
import { refusalIsAbout } from '../connection/server-texts.js';
import type { Entry, Trouble } from './records.js';
import { RecentChannels } from './recent-channels.js';

/** The first wait of a message that may be to blame, in ms. It doubles with each retry. */
const BACKOFF = 100;
/**
 * The first wait of a message when another one is most likely to blame, in ms. It doubles with each refusal, up to `most`. It is
 * shorter, so that the two do not meet again in one batch.
 */
const INNOCENT_BACKOFF = { first: 25, most: 1000 };
/** The number of times that a refused message is sent again before it is given up. */
export const REFUSED_RETRIES = 3;
/** For how long a channel that has acknowledged must refuse everything until that is believed, in ms. It may have been deleted. */
export const BELIEVED_AFTER = 10_000;
/** The time between the retries of two channels, in ms. Then they are most likely in different batches. */
const APART = 50;
/** The most that a channel waits longer for that, in ms. */
const APART_MOST = 1000;
/** The most channels that are remembered for having refused something. */
const MOST_REFUSING = 10_000;

/** The record of a channel that has refused something since it last acknowledged a message. */
interface Refusing {
  /** When it first refused something on this session; undefined if it has not yet. */
  since: number | undefined;
  /** When it last refused something. */
  lastAt: number;
  /** For how long it refused everything on earlier sessions, in ms. */
  before: number;
  /** When its next retry is due. */
  turnAt: number;
  /** The number of its messages that were given up. */
  givenUp: number;
  /** The `order` of the last message that waited while another one was refused so often that it was given up. */
  doomedUpTo: number;
  /** The server's text about the one that was given up. */
  text: string;
}

/** What to do with a refused message. */
export interface RetryDecision {
  /** The wait until it is sent again, in ms; undefined when it is to be given up. */
  retryIn: number | undefined;
  /** For how long its channel has refused everything, in ms. It is set only for a channel that has acknowledged before. */
  shownFor: number | undefined;
}

export class Refusals {
  readonly #acknowledged = new RecentChannels();
  readonly #refusing = new Map<string, Refusing>();
  /** When the last retry of any channel is due. */
  #lastTurn = -Infinity;

  /** Notes that a message of this channel was acknowledged, so that the channel exists. */
  acknowledged(channel: string): void {
    this.#acknowledged.add(channel);
    if (this.#refusing.size > 0) this.#refusing.delete(channel);
  }

  /** Notes that the session has ended. The time until the next one does not count as refused. */
  interrupted(): void {
    for (const refusing of this.#refusing.values()) {
      if (refusing.since !== undefined) refusing.before += refusing.lastAt - refusing.since;
      refusing.since = undefined;
    }
  }

  /**
   * Decides what to do with a message that was refused.
   * @param published the number of messages that were published so far
   */
  judge({ channel, order }: Entry, trouble: Trouble, text: string, now: number, published: number): RetryDecision {
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
    // The first one may have met others in its batch each time. From the second on, what waited behind it is given up with it.
    if (refusing.givenUp++ > 0) refusing.doomedUpTo = Math.max(refusing.doomedUpTo, trouble.refusedFrom, order);
    refusing.text = text;
    return { retryIn: undefined, shownFor };
  }

  /**
   * Returns why a message is to be given up before it is sent: the server's text about another one of its channel that was sent four
   * times and given up meanwhile. Otherwise a stream of messages to a channel that refuses would fill the outbox.
   */
  dooms({ channel, order, attempts }: Entry): string | undefined {
    if (this.#refusing.size === 0 || attempts > 0) return undefined;
    const refusing = this.#refusing.get(channel);
    return refusing !== undefined && order <= refusing.doomedUpTo ? refusing.text : undefined;
  }

  #innocent(trouble: Trouble): RetryDecision {
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

  /** Returns the wait of a channel, in ms. Each channel is tried at a time of its own, so that the one to blame spoils no other. */
  #turn(refusing: Refusing, now: number, delay: number): number {
    const due = now + delay;
    if (refusing.turnAt < due) {
      refusing.turnAt = Math.min(Math.max(due, this.#lastTurn + APART), due + APART_MOST);
      this.#lastTurn = Math.max(this.#lastTurn, refusing.turnAt);
    }
    return refusing.turnAt - now;
  }
}
