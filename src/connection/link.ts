/**
 * One NATS connection to one server, never repaired: dialled, asked, used by at most one session, destroyed.
 */
import { AuthorizationError, PermissionError, describe, toError } from '../errors.js';
import type { ServerAddress } from './servers.js';
import {
  connectNats,
  createInbox,
  decodePingError,
  encodeCloseRequest,
  encodePing,
  guardParser,
  NatsError,
  pingSubject,
  type NatsConnection,
} from './wire.js';

/** What the leader said to a ping. */
export interface Answer {
  /** The number given to {@link Link.ask}. */
  instant: number;
  /** The connection ID of the ping is registered. */
  registered: boolean;
}

const PERMISSION = /permissions violation for (?:publish|subscription) to "?([^"\s]+)"?/i;
const REFUSED =
  /authorization violation|authentication|authorization|nkey|nonce|signature|jwt|credential|user authentication/i;

/** What NATS said, as one of our errors and in words. */
function translate(error: unknown, server: string): Error {
  const chained = error instanceof NatsError ? error.chainedError : undefined;
  switch (chained?.code) {
    case 'ECONNREFUSED':
      return new Error('connection refused: nobody listens there', { cause: error });
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new Error(`the host name cannot be resolved (${chained.code})`, { cause: error });
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return new Error(`the host cannot be reached (${chained.code})`, { cause: error });
  }
  const text = describe(chained ?? error).replace(/^'|'$/g, '');
  if (!chained && REFUSED.test(text)) {
    return new AuthorizationError(server, `${server} refused the credentials: ${text}`, { cause: error });
  }
  return new Error(text, { cause: error });
}

/** Why a dial ended that nobody answered; the round of a race may end before it, for the same reason. */
export const noGreeting = (timeout: number): string =>
  `no NATS greeting within ${timeout} ms: the host is mute, or it is not a NATS server`;

export class Link {
  readonly address: ServerAddress;
  readonly nats: NatsConnection;
  /** Called for each answer of the leader. */
  onAnswer: ((answer: Answer) => void) | undefined;
  /** Called once, when the connection ends or NATS reports an error on it; not after {@link destroy}. */
  onDeath: ((error: Error) => void) | undefined;

  #dead = false;
  #death: Error | undefined;
  #inbox: string | undefined;
  /** The subscription to the answers. */
  #questions: number | undefined;
  /** The frame of a question about a connection ID, but for its number. */
  #question: { of: Uint8Array; head: string; tail: string } | undefined;

  private constructor(address: ServerAddress, nats: NatsConnection) {
    this.address = address;
    this.nats = nats;
    nats.on('error', (error: unknown) => this.#die(translate(error, address.url)));
    nats.on('permission_error', (error: unknown) => {
      const subject = PERMISSION.exec(describe(error))?.[1];
      const what = `${address.url} forbids ${subject === undefined ? 'a subject' : `the subject '${subject}'`}`;
      this.#die(new PermissionError(subject, `${what}: ${describe(error)}`, { cause: error }));
    });
    nats.on('disconnect', () => this.#die(new Error('the server closed the connection')));
    nats.on('close', () => this.#die(new Error('the connection was closed')));
    guardParser(nats, (thrown) =>
      this.#die(new Error(`what the server sent is not understood: ${describe(thrown)}`, { cause: thrown })),
    );
  }

  /**
   * Connects to one server and waits for its greeting.
   * @param timeout ms for TCP, TLS and the NATS greeting together; the wrapped client has no such limit of its own
   */
  static async dial(
    address: ServerAddress,
    options: Record<string, unknown>,
    timeout: number,
    signal: AbortSignal,
  ): Promise<Link> {
    signal.throwIfAborted();
    const link = new Link(
      address,
      // reconnect: false, because a session never lives through a NATS reconnect (acks and deliveries get lost in it).
      connectNats({ ...options, url: address.url, reconnect: false, encoding: 'binary' }),
    );
    return await new Promise<Link>((resolve, reject) => {
      const fail = (error: Error): void => {
        settle();
        link.destroy();
        reject(error);
      };
      const timer = setTimeout(() => fail(new Error(noGreeting(timeout))), timeout);
      const onAbort = (): void => fail(signal.reason as Error);
      const settle = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        link.onDeath = undefined;
      };
      signal.addEventListener('abort', onAbort, { once: true });
      link.onDeath = fail;
      link.nats.once('connect', () => {
        settle();
        resolve(link);
      });
    });
  }

  get alive(): boolean {
    return !this.#dead;
  }

  /** Why it died, if it did. */
  get death(): Error | undefined {
    return this.#death;
  }

  /** The server's limit for one protocol message in bytes. */
  get maxPayload(): number {
    return this.nats.info?.max_payload ?? 1024 * 1024;
  }

  /**
   * Sends a STAN ping, which a leader answers and nobody else. The answers come to {@link onAnswer} with the number.
   */
  ask(clusterId: string, connectionId: Uint8Array, instant: number): void {
    if (this.#dead) return;
    if (this.#inbox === undefined) {
      this.#inbox = createInbox();
      const prefix = this.#inbox.length + 1;
      this.#questions = this.nats.subscribe(`${this.#inbox}.*`, (message, _reply, subject) => {
        if (this.#dead) return;
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
    if (this.#questions !== undefined && !this.#dead) this.nats.unsubscribe(this.#questions);
    this.#questions = undefined;
    this.#question = undefined;
    this.#inbox = undefined;
  }

  /** A NATS PING: asks the server at the other end itself, leader or not. */
  pingServer(onPong: () => void): void {
    if (this.#dead) return;
    this.nats.flush((error) => {
      if (error === undefined && !this.#dead) onPong();
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
   * Sends the protocol's close request for a client ID and waits for the answer. Everything that the registration had
   * on its way is either stored by then, or never will be.
   *
   * The request names the client ID only, so it ends whoever has it: first make sure that it is still ours.
   */
  closeRegistration(subject: string, clientId: string, timeout: number): Promise<void> {
    // An error, "unknown client" and the like, says that there is nothing left to close, which is what was wanted.
    return this.#request('close request', subject, encodeCloseRequest(clientId), timeout, () => {});
  }

  #request<T>(what: string, subject: string, data: Buffer, timeout: number, read: (answer: string) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#dead) {
        reject(this.#death ?? new Error('the connection was closed'));
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
      const timer = setTimeout(() => {
        settle();
        reject(new Error(`no answer to the ${what} within ${timeout} ms`));
      }, timeout);
      const onDeath = this.onDeath;
      const settle = (): void => {
        clearTimeout(timer);
        this.onDeath = onDeath;
        if (!this.#dead) this.nats.unsubscribe(sid);
      };
      this.onDeath = (error) => {
        settle();
        reject(error);
        onDeath?.(error);
      };
      this.nats.publish(subject, data, inbox);
    });
  }

  /** Ends it at once: socket, buffers, timers and listeners. Idempotent. */
  destroy(): void {
    const wasClosed = this.#dead && this.nats.closed === true;
    this.#dead = true;
    this.onDeath = undefined;
    this.onAnswer = undefined;
    if (wasClosed) return;
    this.nats.close();
    // nats.close() takes our listeners away, and an 'error' without a listener would end the process.
    this.nats.on('error', () => {});
  }

  #die(error: Error): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#death = error;
    const onDeath = this.onDeath;
    this.destroy();
    onDeath?.(error);
  }
}
