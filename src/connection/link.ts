/**
 * One NATS connection to one server, never repaired: dialled, asked, used by at most one session, destroyed.
 */
import type { ConnectionOptions } from 'node:tls';
import { awakeClock, patience, type AwakeClock } from '../awake-clock.js';
import { AuthorizationError, PermissionError, describe, toError } from '../errors.js';
import { printable } from '../printable.js';
import { readGreeting } from './greeting.js';
import type { ServerAddress } from './servers.js';
import { complaint, type Complaint } from './server-texts.js';
import { openStream, Unreached, type Stream } from './stream.js';
import {
  adoptStream,
  createInbox,
  decodeCloseError,
  decodePingError,
  encodeCloseRequest,
  encodePing,
  guardParser,
  pingSubject,
  takeInRest,
  type NatsConnection,
  type NatsIdentity,
} from './wire.js';

/** What the leader said to a ping. */
export interface Answer {
  /** The number given to {@link Link.ask}. */
  instant: number;
  /** The connection ID of the ping is registered. */
  registered: boolean;
}

/** Who we are to a server, and what its stream must be. */
export interface DialIdentity extends NatsIdentity {
  tls?: false | ConnectionOptions;
}

/** The server complains of something that we did, and mostly ends the connection over it. */
export class ServerComplaint extends Error {
  readonly complaint: Complaint;
  /** The server's own words. */
  readonly text: string;

  constructor(text: string) {
    super(`the server said: '${text}'`);
    this.text = text;
    this.complaint = complaint(text);
  }
}

/** From so many bytes on a frame takes time on a thin line. */
export const LARGE = 4 * 1024;
/** `max_payload` holds for what is published. So much more, in bytes, is let pass in what the server sends: room for its fields. */
const OVERHEAD = 1024;

/** Why a dial ended that nobody answered; the round of a race may end before it, for the same reason. */
export const noGreeting = (timeout: number): string =>
  `no NATS greeting within ${timeout} ms: the host is mute, or it is not a NATS server`;

/** Where a connection is in its life. */
type Life =
  | { readonly phase: 'open' }
  /** `why`: what ended it; undefined if we did. */
  | { readonly phase: 'dead'; readonly why: Error | undefined };

const OPEN: Life = { phase: 'open' };

export class Link {
  readonly address: ServerAddress;
  readonly nats: NatsConnection;
  /** Called for each answer of the leader. */
  onAnswer: ((answer: Answer) => void) | undefined;
  /** Called once, when the connection ends or NATS reports an error on it; not after {@link destroy}. */
  onDeath: ((error: Error) => void) | undefined;
  /** The server forbids a subject; the connection lives on. True: that was all. Otherwise it is the end of the connection. */
  onDenied: ((error: PermissionError) => boolean) | undefined;
  /** A part of a message has arrived, and the rest is on its way. */
  onProgress: (() => void) | undefined;
  /** A large frame was handed over: where it ends in all that was sent, and how many bytes it has. */
  onLarge: ((end: number, bytes: number) => void) | undefined;
  /** The server tells of others, as `host:port`. */
  onAnnounced: ((announced: readonly string[]) => void) | undefined;
  /** The stream is encrypted, so that nobody on the way can have changed what the server says. */
  readonly secure: boolean;
  /** Those that its greeting told of. It came before the encryption. */
  readonly announced: readonly string[];

  readonly #clock: AwakeClock;
  #life: Life = OPEN;
  #maxPayload: number;
  #sent = 0;
  #inbox: string | undefined;
  /** The subscription to the answers. */
  #questions: number | undefined;
  /** The frame of a question about a connection ID, but for its number. */
  #question: { of: Uint8Array; head: string; tail: string } | undefined;
  /** Requests of our own that wait for an answer: subject -> what to do when it is forbidden. */
  readonly #requests = new Map<string, (error: Error) => void>();

  private constructor(address: ServerAddress, nats: NatsConnection, { secure, greeting }: Stream, clock: AwakeClock) {
    this.#clock = clock;
    this.address = address;
    this.nats = nats;
    this.secure = secure;
    this.announced = greeting.announced;
    this.#maxPayload = greeting.maxPayload;
    nats.on('error', (error: unknown) => this.#die(new Error(printable(describe(error)), { cause: error })));
    nats.on('disconnect', () => this.#die(new Error('the server closed the connection')));
    nats.on('close', () => this.#die(new Error('the connection was closed')));
    guardParser(
      nats,
      (thrown) => this.#die(new Error(`what the server sent is not understood: ${printable(describe(thrown))}`)),
      {
        info: (json) => this.#informed(json),
        complaint: (text) => this.#complained(text),
        progress: () => this.onProgress?.(),
        largest: () => this.#maxPayload + OVERHEAD,
      },
    );
    // All that goes out goes through here, the wrapped clients' own requests too.
    const send = nats.sendCommand.bind(nats);
    nats.sendCommand = (frame: Buffer | string) => {
      const bytes = typeof frame === 'string' ? Buffer.byteLength(frame) : frame.length;
      this.#sent += bytes;
      if (bytes >= LARGE) this.onLarge?.(this.#sent, bytes);
      send(frame);
    };
  }

  /**
   * Connects to one server and waits until it has taken our credentials.
   * @param timeout ms for TCP, TLS and the NATS greeting together; the wrapped client has no such limit of its own
   */
  static async dial(
    address: ServerAddress,
    { tls = false, ...identity }: DialIdentity,
    timeout: number,
    signal: AbortSignal,
    clock: AwakeClock = awakeClock(),
  ): Promise<Link> {
    signal.throwIfAborted();
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const cancel = patience(clock, timeout, () => stop.abort(new Unreached(noGreeting(timeout))));
    try {
      const stream = await openStream(address, tls, stop.signal);
      const link = new Link(address, adoptStream(stream, identity), stream, clock);
      await link.#accepted(stop.signal);
      return link;
    } finally {
      cancel();
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Resolves at the first PONG, which comes after the server has taken our CONNECT. */
  #accepted(signal: AbortSignal): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const settle = (): void => {
        signal.removeEventListener('abort', onAbort);
        this.onDeath = undefined;
      };
      const fail = (error: Error): void => {
        settle();
        this.destroy();
        reject(error);
      };
      const onAbort = (): void => fail(toError(signal.reason));
      this.onDeath = fail;
      this.nats.once('connect', () => {
        settle();
        resolve();
      });
      if (signal.aborted) onAbort();
      else {
        signal.addEventListener('abort', onAbort, { once: true });
        takeInRest(this.nats);
      }
    });
  }

  get alive(): boolean {
    return this.#life === OPEN;
  }

  /** Why it died, if it did. */
  get death(): Error | undefined {
    return this.#life.phase === 'dead' ? this.#life.why : undefined;
  }

  /** The server's limit for one protocol message in bytes. */
  get maxPayload(): number {
    return this.#maxPayload;
  }

  /** How many bytes were handed over so far, sent or not. */
  get sent(): number {
    return this.#sent;
  }

  /**
   * Sends a STAN ping, which a leader answers and nobody else. The answers come to {@link onAnswer} with the number.
   */
  ask(clusterId: string, connectionId: Uint8Array, instant: number): void {
    if (!this.alive) return;
    if (this.#inbox === undefined) {
      this.#inbox = createInbox();
      const prefix = this.#inbox.length + 1;
      this.#questions = this.nats.subscribe(`${this.#inbox}.*`, (message, _reply, subject) => {
        if (!this.alive) return;
        const registered = decodePingError(message) === '';
        this.onAnswer?.({ instant: Number(subject.slice(prefix)), registered });
      });
    }
    if (this.#question?.of !== connectionId) {
      const ping = encodePing(connectionId).toString('latin1');
      const head = `PUB ${pingSubject(clusterId)} ${this.#inbox}.`;
      this.#question = { of: connectionId, head, tail: ` ${ping.length}\r\n${ping}\r\n` };
    }
    // All that an idle client does, so it is made once.
    const { head, tail } = this.#question;
    this.nats.sendCommand(Buffer.from(`${head}${instant}${tail}`, 'latin1'));
  }

  /**
   * No answer to what was asked so far is passed on any more. A leader that was frozen answers old questions when it
   * thaws, and what it says of the predecessor's connection ID must not be taken for an answer about the successor's.
   */
  forgetQuestions(): void {
    if (this.#questions !== undefined && this.alive) this.nats.unsubscribe(this.#questions);
    this.#questions = undefined;
    this.#question = undefined;
    this.#inbox = undefined;
  }

  /** A NATS PING: asks the server at the other end itself, leader or not. */
  pingServer(onPong: () => void): void {
    if (!this.alive) return;
    this.nats.flush((error) => {
      if (error === undefined && this.alive) onPong();
    });
  }

  /**
   * Whether the leader knows a connection ID, that is, whether its registration has not been taken by another client.
   * @throws when no leader answers within `timeout` ms, or the connection ends
   */
  isRegistered(clusterId: string, connectionId: Uint8Array, timeout: number): Promise<boolean> {
    return this.#request('ping', pingSubject(clusterId), encodePing(connectionId), timeout, (answer) => {
      return decodePingError(answer) === '';
    });
  }

  /**
   * Sends the protocol's close request for a client ID and waits for the answer. What the registration had on its
   * way is by then in the leader's queue, ahead of all that comes later, or it never will be.
   *
   * The request names the client ID only, so it ends whoever has it: first make sure that it is still ours.
   * @returns the server's text when it has not closed it; else empty
   */
  closeRegistration(subject: string, clientId: string, timeout: number): Promise<string> {
    return this.#request('close request', subject, encodeCloseRequest(clientId), timeout, (answer) =>
      printable(decodeCloseError(answer)),
    );
  }

  /** Whoever waits for an answer to one of these waits no longer. */
  abandonRequests(error: Error): void {
    for (const abandon of [...this.#requests.values()]) abandon(error);
  }

  #request<T>(what: string, subject: string, data: Buffer, timeout: number, read: (answer: string) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (!this.alive) {
        reject(this.death ?? new Error('the connection was closed'));
        return;
      }
      const inbox = createInbox();
      const sid = this.nats.subscribe(inbox, (answer) => {
        settle();
        try {
          resolve(read(answer));
        } catch (error) {
          reject(toError(error));
        }
      });
      const cancel = patience(this.#clock, timeout, () => {
        settle();
        reject(new Error(`no answer to the ${what} within ${timeout} ms`));
      });
      const onDeath = this.onDeath;
      const settle = (): void => {
        cancel();
        this.onDeath = onDeath;
        this.#requests.delete(subject);
        if (this.alive) this.nats.unsubscribe(sid);
      };
      this.onDeath = (error) => {
        settle();
        reject(error);
        onDeath?.(error);
      };
      this.#requests.set(subject, (error) => {
        settle();
        reject(error);
      });
      this.nats.publish(subject, data, inbox);
    });
  }

  #informed(json: string): void {
    if (!this.alive) return;
    const { maxPayload, announced } = readGreeting(json);
    this.#maxPayload = maxPayload;
    this.onAnnounced?.(announced);
  }

  #complained(text: string): void {
    if (!this.alive) return;
    const complaint = new ServerComplaint(text);
    if (complaint.complaint.kind === 'permission') this.#denied(complaint, complaint.complaint.subject);
    else if (complaint.complaint.kind !== 'credentials') this.#die(complaint);
    else {
      const { url } = this.address;
      this.#die(new AuthorizationError(url, `${url} refused the credentials: ${text}`, { cause: complaint }));
    }
  }

  /** The server goes on: whether we do depends on what was asked. */
  #denied(complaint: ServerComplaint, subject: string | undefined): void {
    const what = `${this.address.url} forbids ${subject === undefined ? 'a subject' : `the subject '${subject}'`}`;
    const error = new PermissionError(subject, `${what}: ${complaint.text}`, { cause: complaint });
    // Only one is under way at a time, and nothing else that the server could mean.
    const request = this.#requests.get(subject ?? '') ?? this.#requests.values().next().value;
    if (request) request(error);
    else if (this.onDenied?.(error) !== true) this.#die(error);
  }

  /** Ends it at once: socket, buffers, timers and listeners. Idempotent. */
  destroy(): void {
    const wasClosed = !this.alive && this.nats.closed === true;
    if (this.alive) this.#life = { phase: 'dead', why: undefined };
    this.onDeath = undefined;
    this.onAnswer = undefined;
    this.onDenied = undefined;
    this.onProgress = undefined;
    this.onLarge = undefined;
    this.onAnnounced = undefined;
    if (wasClosed) return;
    this.nats.close();
    // nats.close() takes our listeners away, and an 'error' without a listener would end the process.
    this.nats.on('error', () => {});
  }

  #die(error: Error): void {
    if (!this.alive) return;
    this.#life = { phase: 'dead', why: error };
    const onDeath = this.onDeath;
    this.destroy();
    onDeath?.(error);
  }
}
