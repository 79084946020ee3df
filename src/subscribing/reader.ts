import '../dispose.js';
import type { RawMessage } from '../connection/protocol.js';
import { SafeEmitter } from '../emitter.js';
import type { EventNames } from '../event-names.js';
import { ClosedError, TimeoutError, toOurs, type CallbackError } from '../errors.js';
import type { Clock } from '../clock/clock.js';
import type { Caller } from './caller.js';
import type { Gap, Position } from './cursor.js';
import { ReceivedMessage, type Acknowledger, type StanMessage } from './message.js';
import type { Questions } from './questions.js';
import type { ResolvedRange } from './read-options.js';
import { Reading, type Next, type ReadingStart } from './reading.js';
import { Ring } from './ring.js';

/**
 * The events of a {@link ChannelReader}, by name.
 * @category Subscribing
 */
export interface ReaderEvents {
  /**
   * The server no longer has the messages `from` to `to`, both included, although they are in the range: the limits of the
   * channel have taken them, or it was deleted. It is told right before the message that follows them is handed over.
   *
   * It is logged as a warning. It is no event of the client and does not count in `stats().gaps`, which tell of messages that
   * are lost to a subscription.
   */
  gap: (event: { from: number; to: number }) => void;
}

const READER_EVENTS: EventNames<ReaderEvents> = {
  of: 'a read',
  known: { gap: true },
  hints: {
    message: 'messages come by iteration, as in: for await (const message of stan.read(channel))',
    end: 'the iteration ends when all is read',
    close: 'the iteration ends when all is read',
  },
};

/**
 * How much further back than asked the beginning of a time is looked for, in ms, because our clock may differ from that of the
 * server. When all of that is not enough, everything is read. Messages before the time are left out.
 */
const CLOCKS_APART = [1000, 60_000, 3_600_000];

export interface ReaderOwner {
  readonly clock: Clock;
  readonly questions: Questions;
  /** Hears of messages that are gone. */
  onGap(channel: string, gap: Gap): void;
  /** Hears of a listener that threw. */
  onListenerThrown(error: CallbackError): void;
}

/** What a reader needs that was checked. */
export interface ReaderRequest {
  readonly channel: string;
  readonly range: ResolvedRange;
  /** Ends when the signal of the user is aborted. */
  readonly caller: Caller;
}

/**
 * The stored messages of a channel, as an async iterator that ends. It is made by {@link ResilientStan.read}.
 *
 * It has one event, `gap`: see {@link ReaderEvents}. Listeners that are added before the first message is asked for miss
 * nothing.
 *
 * @example
 * ```ts
 * const reader = stan.read('orders', { from: 1, to: 100 });
 * reader.on('gap', ({ from, to }) => console.warn(`messages ${from} to ${to} are gone`));
 * for await (const message of reader) console.log(message.sequence, message.string());
 * ```
 * @category Subscribing
 */
export class ChannelReader extends SafeEmitter<ReaderEvents> implements AsyncIterableIterator<StanMessage> {
  readonly #owner: ReaderOwner;
  readonly #request: ReaderRequest | undefined;
  readonly #acknowledger: Acknowledger;
  /** What is read and not handed over. */
  #ready = new Ring<ReceivedMessage | Gap>();
  /** The number of entries that the last work has added. */
  #added = 0;
  #reading: Reading | undefined;
  /** The work under way. It never rejects. */
  #work: Promise<void> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #asking = 0;
  #error: Error | undefined;
  #over = false;

  private constructor(owner: ReaderOwner, request: ReaderRequest | Error) {
    super(READER_EVENTS);
    this.#owner = owner;
    const refused = request instanceof Error;
    this.#request = refused ? undefined : request;
    this.#error = refused ? request : undefined;
    this.#acknowledger = { channel: refused ? '' : request.channel, acknowledge: () => undefined };
    SafeEmitter.reportTo(this, (error) => owner.onListenerThrown(error));
    if (!refused) this.#working(() => this.#begin(request));
  }

  /** @internal @param request an error if the arguments are wrong, which the first `next()` rejects with */
  static of(owner: ReaderOwner, request: ReaderRequest | Error): ChannelReader {
    return new ChannelReader(owner, request);
  }

  /** The iterator itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /**
   * The next message, or the end.
   *
   * @throws once, what ended the read before its end; see {@link ResilientStan.read}
   */
  next(): Promise<IteratorResult<StanMessage>> {
    this.#stopIfTold();
    if (this.#asking === 0) {
      const message = this.#shift();
      if (message !== undefined) return Promise.resolve({ done: false, value: message });
    }
    // Calls that come before the last one is answered are answered in their order.
    this.#asking++;
    const answer = this.#last.then(() => this.#next());
    const answered = (): void => void this.#asking--;
    this.#last = answer.then(answered, answered);
    return answer;
  }

  /** Ends the read, as `break` in a loop does. */
  return(): Promise<IteratorResult<StanMessage>> {
    this.#end();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Ends the read, and rejects with `error`. */
  async throw(error?: unknown): Promise<IteratorResult<StanMessage>> {
    this.#end();
    throw error;
  }

  /** Ends the read, at the end of a scope with `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  async #next(): Promise<IteratorResult<StanMessage>> {
    for (;;) {
      const message = this.#shift();
      if (message !== undefined) return { done: false, value: message };
      if (this.#error !== undefined) {
        const error = this.#error;
        this.#end();
        throw error;
      }
      if (this.#isThrough) this.#end();
      if (this.#over) return { done: true, value: undefined };
      this.#readAhead();
      await this.#work;
    }
  }

  /** Takes the next message out, and tells the gaps before it. */
  #shift(): StanMessage | undefined {
    for (let entry = this.#ready.shift(); entry !== undefined; entry = this.#ready.shift()) {
      if (entry instanceof ReceivedMessage) {
        if (this.#ready.length <= this.#added / 2) this.#readAhead();
        return entry;
      }
      this.#tell(entry);
    }
    return undefined;
  }

  #tell(gap: Gap): void {
    this.#owner.onGap(this.#acknowledger.channel, gap);
    this.emit('gap', { from: gap.from, to: gap.to });
  }

  #push(entry: ReceivedMessage | Gap): void {
    this.#ready.push(entry);
    this.#added++;
  }

  /** Reads the next page, unless that is under way. */
  #readAhead(): void {
    const reading = this.#reading;
    const request = this.#request;
    if (this.#work !== undefined || reading === undefined || request === undefined || reading.over || this.#over)
      return;
    if (this.#error !== undefined) return;
    this.#added = 0;
    this.#working(() => this.#readPage(request, reading));
  }

  #working(work: () => Promise<void>): void {
    this.#work = work()
      .catch((error: unknown) => {
        if (this.#over) return;
        // What has come before is handed over first.
        this.#error = toOurs(error, 'read()');
        this.#stopIfTold();
      })
      .finally(() => {
        this.#work = undefined;
      });
  }

  /** Whether everything is read and handed over, so that only the end has to be told. */
  get #isThrough(): boolean {
    const { length } = this.#ready;
    return this.#error === undefined && this.#work === undefined && length === 0 && this.#reading?.over !== false;
  }

  /** Hands nothing more over if the client is closed or the signal aborted before the end. */
  #stopIfTold(): void {
    if (this.#isThrough) return;
    const told = this.#request?.caller.error ?? this.#owner.questions.over;
    if (this.#over || told === undefined) return;
    this.#error = told;
    this.#ready = new Ring();
  }

  #end(): void {
    this.#error = undefined;
    if (this.#over) return;
    this.#over = true;
    this.#ready = new Ring();
    // A call of next() that still waits has its answer now.
    this.#request?.caller.end(new ClosedError('the read is over'));
  }

  /** Finds out what is stored at this moment. */
  async #begin(request: ReaderRequest): Promise<void> {
    const { channel, caller } = request;
    const newest = await this.#owner.questions.newest(channel, caller);
    if (newest === undefined) return;
    const start = await this.#start(request, newest);
    if (start !== undefined && start.from <= start.to) this.#reading = new Reading(start);
  }

  /** Returns what is wanted; undefined if it is nothing. */
  async #start({ channel, range, caller }: ReaderRequest, newest: Position): Promise<ReadingStart | undefined> {
    const to = newest.sequence;
    const notBefore = -Infinity;
    switch (range.kind) {
      case 'numbers':
        return { from: range.from ?? 1, to: Math.min(range.to, to), named: range.from !== undefined, notBefore };
      case 'last':
        return { from: Math.max(1, to - range.count + 1), to, named: false, notBefore };
      case 'since': {
        const since = range.since * 1e6;
        if (newest.time < since) return undefined;
        return { from: await this.#firstSince(channel, since, caller), to, named: false, notBefore: since };
      }
    }
  }

  /** Returns a sequence that is not above the first message from a time on, in ns. */
  async #firstSince(channel: string, since: number, caller: Caller): Promise<number> {
    const { clock, questions } = this.#owner;
    for (const early of CLOCKS_APART) {
      const look = (sequence?: number): Promise<Position | undefined> =>
        questions.ask(
          channel,
          () =>
            questions.inquiries.look(
              channel,
              () => (sequence === undefined ? { ago: Math.max(0, clock.wall() - since / 1e6 + early) } : { sequence }),
              { urgency: 'asked' },
            ),
          caller,
        );
      const first = await look();
      if (first === undefined) continue;
      if (first.time < since || first.sequence === 1) return first.sequence;
      // The message before tells whether the search has gone back far enough.
      const before = await look(first.sequence - 1);
      if (before === undefined || before.time < since || before.sequence >= first.sequence) return first.sequence;
    }
    return 1;
  }

  /** Reads until there is something to hand over, or nothing more to read. */
  async #readPage({ channel, caller }: ReaderRequest, reading: Reading): Promise<void> {
    const { questions } = this.#owner;
    for (let next: Next = 'page'; ;) {
      switch (next) {
        case 'page': {
          next = await questions.ask(channel, () => this.#ask(channel, reading), caller);
          if (next === 'page' && this.#added > 0) return;
          break;
        }
        case 'oldest':
          next = reading.oldest(await questions.oldest(channel, caller));
          break;
        case 'newest':
          next = reading.newest(await questions.newest(channel, caller));
          break;
        case 'over':
          return;
        case 'stuck':
          throw new TimeoutError(
            `the server says that it has messages ${reading.next} to ${reading.to} of channel '${channel}', and does not send ` +
              `them: look into the server's log, and read again`,
          );
      }
      for (const gap of reading.takeGaps()) this.#push(gap);
      if (this.#over) return;
    }
  }

  /** Asks for one page. If the session ends first, what has come counts all the same. */
  async #ask(channel: string, reading: Reading): Promise<Next> {
    if (reading.over) return 'over';
    const { from, to } = reading.page();
    const take = (raw: RawMessage): boolean => {
      if (this.#over) return false;
      const sequence = raw.getSequence();
      const time = raw.getTimestampRaw();
      const message = new ReceivedMessage(this.#acknowledger, raw, sequence, time, false, 0, 0, 0);
      const taken = reading.take(sequence, time, () => message.data.length);
      if (taken === 'keep' || taken === 'last') this.#push(message);
      return taken === 'keep' || taken === 'skip';
    };
    const end = await this.#owner.questions.inquiries.page(
      channel,
      from,
      to,
      take,
      { urgency: 'asked' },
      reading.patience,
    );
    return reading.ended(end === 'silent');
  }
}
