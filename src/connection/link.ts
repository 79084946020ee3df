/** One NATS connection to one server. It is dialled, asked, used by at most one session and destroyed, and never repaired. */
import type { ConnectionOptions } from 'node:tls';
import type { Clock } from '../clock/clock.js';
import { patience } from '../clock/patience.js';
import { AuthorizationError, PermissionError, describe, toError, type PlainServer } from '../errors.js';
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

/** The answer of the leader to a ping. */
export interface Answer {
  /** The number that {@link Link.ask} was called with. */
  instant: number;
  /** Whether the connection ID of the ping is registered. */
  registered: boolean;
}

/** The identity of the client for a server, and the TLS options of the stream. */
export interface DialIdentity extends NatsIdentity {
  tls?: false | ConnectionOptions;
}

/** The server complains about something that we did. It mostly ends the connection then. */
export class ServerComplaint extends Error {
  readonly complaint: Complaint;
  /** The server's text. */
  readonly text: string;

  constructor(text: string) {
    super(`the server said: '${text}'`);
    this.text = text;
    this.complaint = complaint(text);
  }
}

/** The size from which on a frame takes noticeable time on a slow connection, in bytes. */
export const LARGE = 4 * 1024;
/**
 * The size that a received message may have above `max_payload`, in bytes. That limit is for published messages, and the server
 * adds fields to them.
 */
const OVERHEAD = 1024;

/** Returns the reason of a dial that nobody answered. A round of a search may end before the dial, with the same reason. */
export const noGreeting = (timeout: number): string =>
  `no NATS greeting within ${timeout} ms: the host is mute, or it is not a NATS server`;

/** The state of a connection. */
type Life =
  | { readonly phase: 'open' }
  /** `why` is the error that ended it; undefined if we ended it. */
  | { readonly phase: 'dead'; readonly why: Error | undefined };

const OPEN: Life = { phase: 'open' };

export class Link {
  readonly address: ServerAddress;
  readonly nats: NatsConnection;
  /** Is called for each answer of the leader. */
  onAnswer: ((answer: Answer) => void) | undefined;
  /** Is called once, when the connection ends or NATS reports an error on it. It is not called after {@link destroy}. */
  onDeath: ((error: Error) => void) | undefined;
  /**
   * Is called when the server forbids a subject, after which the connection lives on. It returns true if that was all, and
   * otherwise the connection is ended.
   */
  onDenied: ((error: PermissionError) => boolean) | undefined;
  /** Is called when a part of a message has arrived and the rest is on its way. */
  onProgress: (() => void) | undefined;
  /** Is called when a large frame was handed over, with the position of its end among all sent bytes and its size in bytes. */
  onLarge: ((end: number, bytes: number) => void) | undefined;
  /** Is called when the server announces servers, as `host:port`. */
  onAnnounced: ((announced: readonly string[]) => void) | undefined;
  /** Whether the stream is encrypted, so that nobody on the way can have changed what the server says. */
  readonly secure: boolean;
  /** The servers that the greeting announced. The greeting came before the encryption. */
  readonly announced: readonly string[];
  /** Is set if no streaming server is built into the server, by its greeting. */
  readonly plain: PlainServer | undefined;

  readonly #clock: Clock;
  #life: Life = OPEN;
  #maxPayload: number;
  #sent = 0;
  #inbox: string | undefined;
  /** The NATS subscription to the answers. */
  #questions: number | undefined;
  /** The two parts of the frame of a question about a connection ID, without its number. */
  #question: { of: Uint8Array; head: string; tail: string } | undefined;
  /** Our own requests that wait for an answer, by subject, and what to do when the subject is forbidden. */
  readonly #requests = new Map<string, (error: Error) => void>();

  private constructor(address: ServerAddress, nats: NatsConnection, { secure, greeting }: Stream, clock: Clock) {
    this.#clock = clock;
    this.address = address;
    this.nats = nats;
    this.secure = secure;
    this.announced = greeting.announced;
    this.plain = greeting.plain;
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
    // All sent frames pass here, those of the wrapped client too.
    const send = nats.sendCommand.bind(nats);
    nats.sendCommand = (frame: Buffer | string) => {
      const bytes = typeof frame === 'string' ? Buffer.byteLength(frame) : frame.length;
      this.#sent += bytes;
      if (bytes >= LARGE) this.onLarge?.(this.#sent, bytes);
      send(frame);
    };
  }

  /**
   * Connects to one server and waits until it has accepted our credentials.
   * @param timeout for TCP, TLS and the NATS greeting together, in ms; the wrapped client has no such limit
   */
  static async dial(
    address: ServerAddress,
    { tls = false, ...identity }: DialIdentity,
    timeout: number,
    signal: AbortSignal,
    clock: Clock,
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

  /** Resolves at the first PONG, which comes after the server has accepted our CONNECT. */
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

  /** The error that ended the connection, if there was one. */
  get death(): Error | undefined {
    return this.#life.phase === 'dead' ? this.#life.why : undefined;
  }

  /** The server's limit for one protocol message, in bytes. */
  get maxPayload(): number {
    return this.#maxPayload;
  }

  /** The number of bytes that were handed over so far, sent or not. */
  get sent(): number {
    return this.#sent;
  }

  /** Sends a STAN ping, which only a leader answers. The answers come to {@link onAnswer} with the number. */
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
    // An idle client does nothing but this, so the frame is made only once.
    const { head, tail } = this.#question;
    this.nats.sendCommand(Buffer.from(`${head}${instant}${tail}`, 'latin1'));
  }

  /**
   * Drops all answers to earlier questions. A leader that was frozen answers old questions when it goes on. Its answer about
   * the connection ID of the previous session must not count for the new one.
   */
  forgetQuestions(): void {
    if (this.#questions !== undefined && this.alive) this.nats.unsubscribe(this.#questions);
    this.#questions = undefined;
    this.#question = undefined;
    this.#inbox = undefined;
  }

  /** Sends a NATS PING, which the attached server answers itself, whether it leads or not. */
  pingServer(onPong: () => void): void {
    if (!this.alive) return;
    this.nats.flush((error) => {
      if (error === undefined && this.alive) onPong();
    });
  }

  /**
   * Asks whether the leader knows a connection ID. If it does not, another client may have taken the registration.
   * @throws when no leader answers within `timeout` ms, or the connection ends
   */
  isRegistered(clusterId: string, connectionId: Uint8Array, timeout: number): Promise<boolean> {
    return this.#request('ping', pingSubject(clusterId), encodePing(connectionId), timeout, (answer) => {
      return decodePingError(answer) === '';
    });
  }

  /**
   * Sends the protocol's close request for a client ID and waits for the answer. Everything that the registration had sent is
   * in the leader's queue by then, before all that comes later, or is never stored.
   *
   * The request names only the client ID, so it closes whoever has it. The caller first makes sure that the ID is still ours.
   * @returns the server's text if the server has not closed it; otherwise empty
   */
  closeRegistration(subject: string, clientId: string, timeout: number): Promise<string> {
    return this.#request('close request', subject, encodeCloseRequest(clientId), timeout, (answer) =>
      printable(decodeCloseError(answer)),
    );
  }

  /** Rejects all requests that wait for an answer. */
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

  /** Handles a forbidden subject. The server keeps the connection, and what was requested decides whether we do. */
  #denied(complaint: ServerComplaint, subject: string | undefined): void {
    const what = `${this.address.url} forbids ${subject === undefined ? 'a subject' : `the subject '${subject}'`}`;
    const error = new PermissionError(subject, `${what}: ${complaint.text}`, { cause: complaint });
    // Only one request is under way at a time, and the server can mean nothing else.
    const request = this.#requests.get(subject ?? '') ?? this.#requests.values().next().value;
    if (request) request(error);
    else if (this.onDenied?.(error) !== true) this.#die(error);
  }

  /** Ends the connection at once, with socket, buffers, timers and listeners. It may be called again. */
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
    // nats.close() removes our listeners, and an 'error' without a listener would end the process.
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
