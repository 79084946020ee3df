/**
 * Processes a message that the cursor has taken. Its handler runs, and then the message is acknowledged, left unacknowledged so
 * that it is handed over again, or given up as a dead letter.
 */
import type { RawMessage } from '../connection/protocol.js';
import { ResilientStanError } from '../errors.js';
import { askUser } from '../user-code.js';
import type { Clock } from '../clock/clock.js';
import type { Cursor } from './cursor.js';
import type { EventGate } from './event-gate.js';
import { Handling, type HandlingHost } from './handling.js';
import type { DeliveryState } from './delivery-state.js';
import { ReceivedMessage, type Acknowledger, type MessageHandler } from './message.js';
import { OverdueWatch } from './overdue.js';
import { traced, type ProcessTraceHost } from './process-trace.js';
import { afterFailure, Retries, type Outcome } from './retries.js';
import type { ResolvedSubscribeOptions } from './subscribe-options.js';

/** The handler of the iterator throws this. The message is not processed, and nobody is told. */
export const unprocessed = Symbol('unprocessed');

/** How much earlier than `ackWait` a message may come again, in ms. */
const EARLY = 100;

const LEFT: Outcome = { next: 'left' };

export interface ProcessingHost extends ProcessTraceHost {
  readonly channel: string;
  readonly options: ResolvedSubscribeOptions;
  readonly clock: Clock;
  readonly events: EventGate;
  readonly counters: { delivered: number };
  /** Holds the {@link OverdueWatch} while it counts steps. */
  readonly watches: Set<OverdueWatch>;
  /** Acknowledges a message at the server. */
  ack(sequence: number): void;
  /** Hears of a handler that runs for longer than `ackWait` on a message that is not acknowledged, once for each call of it. */
  overdue(message: ReceivedMessage): void;
  /**
   * Leaves a message that was not processed. It is handed over again when the server sends it again or when it was fetched.
   * @param handed the message itself if its handler had it and may still acknowledge it, with `manualAck`
   */
  leave(message: ReceivedMessage, handed: ReceivedMessage | undefined): void;
}

export class Processing implements HandlingHost, Acknowledger {
  readonly handling: Handling;
  readonly #host: ProcessingHost;
  readonly #options: ResolvedSubscribeOptions;
  readonly #state: DeliveryState;
  readonly #cursor: Cursor;
  readonly #overdue: OverdueWatch;
  /** The messages that wait for their next try. It is undefined without `retry`. */
  readonly #retries: Retries | undefined;

  constructor(host: ProcessingHost, state: DeliveryState, userHandler: MessageHandler) {
    this.#host = host;
    this.#options = host.options;
    this.#state = state;
    this.#cursor = state.cursor;
    const { manualAck, concurrency, retry, ackWait } = host.options;
    const handler = traced(userHandler, host, unprocessed);
    const late = (message: ReceivedMessage): void => {
      // What is acknowledged is not sent again, however long its handler goes on.
      if (!message.settled) host.overdue(message);
    };
    this.#overdue = new OverdueWatch(host.clock, ackWait, host.watches, late);
    if (retry !== undefined) this.#retries = new Retries(host.clock);
    const checked = manualAck || retry !== undefined;
    this.handling = new Handling(this, checked ? (m) => this.#handle(m, handler) : handler, concurrency);
  }

  get channel(): string {
    return this.#host.channel;
  }

  /** Hands a message over to the handler. */
  take(raw: RawMessage, sequence: number, time: number, redelivered: boolean, now: number, fetched: boolean): void {
    const { epoch, sessions, unfinished, failures } = this.#state;
    if (unfinished.size > 0) unfinished.delete(sequence);
    const message = new ReceivedMessage(this, raw, sequence, time, redelivered, epoch, now, sessions);
    message.fetched = fetched;
    if (failures.size > 0) {
      const before = this.#state.handedBefore(sequence);
      if (before > 0) message.earlier = { before, tries: 0, since: 0 };
    }
    this.handling.push(message);
  }

  /**
   * Returns whether to hand over a message again that its handler left unacknowledged, with `manualAck`. That is so when the
   * server sends it again after `ackWait`, as with the wrapped client, and not when it comes again only because of a new server
   * subscription.
   */
  handOverAgain(raw: RawMessage, sequence: number, time: number, redelivered: boolean, now: number): boolean {
    const state = this.#state;
    const unfinished = state.unfinished.get(sequence);
    if (unfinished?.handed === undefined) return false;
    if (now < unfinished.reservedUntil - EARLY) return false;
    state.unfinished.delete(sequence);
    const count = state.noteFailure(sequence, now);
    const { maxDeliveries } = this.#options;
    if (maxDeliveries === undefined || count < maxDeliveries) return true;
    const { epoch, sessions } = state;
    const message = new ReceivedMessage(this, raw, sequence, time, redelivered, epoch, now, sessions);
    message.exhausted = new ResilientStanError(
      'ERR_STAN_TIMEOUT',
      `message ${sequence} of channel '${this.channel}' was handed over ${count} times and never acknowledged: ` +
        `with manualAck, the handler has to call message.ack()`,
    );
    this.handling.push(message);
    return false;
  }

  /** Calls the handler with `manualAck` or `retry`. */
  #handle(message: ReceivedMessage, handler: MessageHandler): void | Promise<void> {
    if (message.exhausted !== undefined) return this.#bury(message, message.exhausted);
    // The first delivery was acknowledged while this one waited.
    if (message.epoch === this.#state.epoch && !this.#cursor.isOutstanding(message.sequence)) {
      message.settled = true;
      return;
    }
    message.handedAt = this.#host.clock.elapsed();
    return handler(message);
  }

  /** Counts a delivery before the handling calls the handler. */
  starting(): void {
    this.#host.counters.delivered++;
  }

  /** Hears from the handling that the handler has returned a promise. */
  pending(message: ReceivedMessage): void {
    this.#overdue.began(message);
  }

  /** Hears from the handling that the handler is done with a message. */
  processed(message: ReceivedMessage): void {
    this.#overdue.ended(message);
    if (message.settled) return;
    if (!this.#options.manualAck) this.acknowledge(message);
    else if (message.epoch === this.#state.epoch) this.#host.leave(message, message);
  }

  /** Acknowledges a message, after `message.ack()` or when its handler is done. */
  acknowledge(message: ReceivedMessage): void {
    if (message.settled) return;
    message.settled = true;
    this.#retries?.end(message);
    // The channel has started over, so the number belongs to another message now.
    if (message.epoch !== this.#state.epoch) return;
    const { sequence } = message;
    this.#state.forget(sequence);
    if (this.#cursor.finish(sequence, message.time)) this.#host.ack(sequence);
  }

  /**
   * Hears from the handling that the handler threw or rejected. The returned promise resolves to whether to call the handler
   * again.
   */
  failed(message: ReceivedMessage, error: unknown): Promise<boolean> | undefined {
    this.#overdue.ended(message);
    if (error === unprocessed) {
      this.letGo(message);
      return undefined;
    }
    const outcome = this.#afterFailure(message);
    const delay = outcome.next === 'again' ? Math.round(outcome.delay) : undefined;
    this.#host.events.emit('handler_error', {
      error,
      message,
      source: 'handler',
      ...(delay !== undefined && { delay }),
    });
    // A listener may have acknowledged the message.
    if (message.settled) return undefined;
    if (outcome.next === 'again') return this.#tryAgain(message, outcome.delay);
    if (outcome.next === 'dead') return this.#bury(message, error).then(() => false);
    this.letGo(message);
    return undefined;
  }

  #afterFailure(message: ReceivedMessage): Outcome {
    const { ackWait, retry } = this.#options;
    const { sequence, settled, epoch, receivedAt, handedAt } = message;
    // If the channel has started over, only this client has the message, and the count of its number is of another one.
    const known = epoch === this.#state.epoch;
    if (settled || (!known && retry === undefined)) return LEFT;
    const { clock } = this.#host;
    const now = clock.elapsed();
    let tries = 1;
    let elapsed = 0;
    if (retry !== undefined) {
      const earlier = (message.earlier ??= { before: 0, tries: 0, since: 0 });
      if (earlier.tries === 0) earlier.since = clock.now() - (now - handedAt);
      tries += earlier.tries;
      elapsed = clock.now() - earlier.since;
    }
    const { redeliveryCount } = ReceivedMessage.sentBefore(message);
    const outcome = afterFailure(
      {
        failures: known ? this.#state.noteFailure(sequence, now) : tries,
        deliveries: redeliveryCount + tries,
        tries,
        elapsed,
        reserved: this.#state.shares ? receivedAt + ackWait - EARLY - now : Infinity,
      },
      this.#options,
    );
    return outcome.next === 'again' && this.#retries!.stopped ? LEFT : outcome;
  }

  /** Waits for the next try of a message. Resolves to whether to make it. */
  async #tryAgain(message: ReceivedMessage, delay: number): Promise<boolean> {
    const retries = this.#retries!;
    await retries.wait(message, delay);
    const { settled, epoch, sequence, earlier } = message;
    if (settled) return false;
    const outstanding = epoch !== this.#state.epoch || this.#cursor.isOutstanding(sequence);
    if (retries.stopped || !outstanding) {
      this.letGo(message);
      return false;
    }
    earlier!.tries++;
    return true;
  }

  /** Whether a handler runs. A message that waits for its next try does not count. */
  get busy(): boolean {
    return this.handling.running > (this.#retries?.waiting ?? 0);
  }

  /** Resolves when no handler runs, or only messages are left that wait for their next try. */
  async quiet(): Promise<void> {
    const retries = this.#retries;
    if (retries === undefined) return this.handling.idle();
    while (this.busy) await Promise.race([this.handling.idle(), retries.begun()]);
  }

  /** Makes no further tries, because the subscription ends. */
  stopRetries(): void {
    this.#retries?.stop();
  }

  /** Leaves a message that was not processed and that no handler has. */
  letGo(message: ReceivedMessage): void {
    if (message.settled || message.epoch !== this.#state.epoch) return;
    if (!this.#cursor.isOutstanding(message.sequence)) return;
    this.#cursor.fail(message.sequence);
    this.#host.leave(message, undefined);
  }

  /** Gives a message up as a dead letter. It never rejects. */
  async #bury(message: ReceivedMessage, error: unknown): Promise<void> {
    try {
      await askUser(() => this.#options.deadLetter?.(message, error));
    } catch (thrown) {
      this.#host.events.emit('handler_error', { error: thrown, message, source: 'deadLetter' });
      this.letGo(message);
      return;
    }
    this.acknowledge(message);
    this.#host.events.emit('dead_letter', { message, error });
  }
}
