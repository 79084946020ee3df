/**
 * The door to the wrapped packages: the small, honest part of `node-nats-streaming` 0.3.2 and `nats` 1.4.12 that this
 * library stands on, internals included. Their own declarations are wrong in places, and both packages are archived and
 * pinned exactly, so their internals no longer move.
 */
import type { EventEmitter } from 'node:events';
import net, { type Socket } from 'node:net';
import natsPackage from 'nats';
import stanPackage from 'node-nats-streaming';
import pbPackage from 'node-nats-streaming/lib/pb/index.js';
import { printable } from '../printable.js';
import { LONGEST_INFO } from './greeting.js';
import { LONGEST_LINE, readFrames, tooLarge } from './inbound.js';
import type { Stream } from './stream.js';

/** A NATS connection of `nats` 1.4.12. */
export interface NatsConnection extends EventEmitter {
  readonly connected: boolean;
  readonly closed?: boolean;
  publish(subject: string, data?: Buffer, reply?: string): void;
  /** Sends a whole frame of the NATS protocol, as it is. Coalesced with others into one write. */
  sendCommand(frame: Buffer | string): void;
  subscribe(subject: string, callback: (message: string, reply: string | undefined, subject: string) => void): number;
  unsubscribe(sid: number): void;
  /** A NATS PING; the callback gets the PONG, or an error when the connection ends. */
  flush(callback: (error?: Error) => void): void;
  /** Removes all listeners and destroys the socket at once, whatever waits in its buffers. */
  close(): void;
}

export interface StanSubscription extends EventEmitter {
  /** Where the server wants the acks; known from the subscribe response on. */
  ackInbox: string | undefined;
  /** The NATS subscription that brings its messages. */
  inboxSub: number;
  /** Taken away by the first request to end it; without it, there is no second one. */
  stanConnection?: StanConnection | undefined;
  close(): void;
  unsubscribe(): void;
}

interface StanSubscriptionOptions {
  setMaxInFlight(n: number): StanSubscriptionOptions;
  setAckWait(millis: number): StanSubscriptionOptions;
  setStartAt(position: number): StanSubscriptionOptions;
  setStartAtSequence(sequence: number): StanSubscriptionOptions;
  setStartAtTimeDelta(millis: number): StanSubscriptionOptions;
  setManualAckMode(manual: boolean): StanSubscriptionOptions;
  setDurableName(name: string): StanSubscriptionOptions;
}

/** A STAN connection of `node-nats-streaming` 0.3.2. */
export interface StanConnection extends EventEmitter {
  connId: Buffer;
  closeRequests: string | null;
  /** Also the time for the answer to each request. */
  readonly options: { connectTimeout: number };
  pingTimer?: NodeJS.Timeout;
  /** The prefix of the subjects that publishes go to. */
  pubPrefix: string;
  /** The subjects of the other requests. */
  subRequests: string;
  unsubRequests: string;
  subCloseRequests: string;
  /** Where the acknowledgements of publishes go to. */
  ackSubject: string;
  ackSubscription: number;
  subscribe(channel: string, options: StanSubscriptionOptions): StanSubscription;
  subscribe(channel: string, queueGroup: string, options: StanSubscriptionOptions): StanSubscription;
  subscriptionOptions(): StanSubscriptionOptions;
  cleanupOnClose(error?: unknown): void;
}

interface StanConnectOptions {
  nc: NatsConnection;
  connectTimeout: number;
  stanPingInterval: number;
  stanMaxPingOut: number;
  ackTimeout: number;
  maxPubAcksInflight: number;
}

interface ProtobufMessage {
  serializeBinary(): Uint8Array;
}
interface ErrorResponse {
  getError(): string;
}

const nats = natsPackage as unknown as {
  connect(options: Record<string, unknown>): NatsConnection;
  createInbox(): string;
  NatsError: new (...args: never[]) => Error & { code?: string; chainedError?: Error };
};

const stan = stanPackage as unknown as {
  connect(clusterId: string, clientId: string, options: StanConnectOptions): StanConnection;
  StartPosition: { NEW_ONLY: number; LAST_RECEIVED: number; FIRST: number };
};

const { pb } = pbPackage as {
  pb: {
    Ping: new () => ProtobufMessage & { setConnId(id: Uint8Array): void };
    PingResponse: { deserializeBinary(bytes: Uint8Array): ErrorResponse };
    CloseResponse: { deserializeBinary(bytes: Uint8Array): ErrorResponse };
    CloseRequest: new () => ProtobufMessage & { setClientId(id: string): void };
  };
};

export const StartAt = stan.StartPosition;
export const NatsError = nats.NatsError;

/** What `nats` 1.4.12 keeps of a connection, as far as it is used here. */
interface Internals {
  stream: Socket | null;
  /** True once the socket is connected. */
  connected: boolean;
  /** What has arrived and is not parsed. */
  inbound: Buffer | null;
  /** What the parser expects: 0, a line. */
  pstate: number;
  /** Of the message whose payload it expects: its size, and how many bytes are missing, the end of line included. */
  payload: { size: number; psize: number } | null;
  /** By their numbers; null when the connection is closed. */
  subs: Record<number, { callback: OnPayload; takes?: OnPayload } | undefined> | null;
  processInbound(): void;
  processServerUpdate(): void;
}

type OnPayload = (payload: string) => void;

const internalsOf = (connection: NatsConnection): Internals => connection as unknown as Internals;

/** Who hears what arrives beside messages. */
export interface Hearing {
  /** An INFO line, without `INFO `. */
  info(json: string): void;
  /** An `-ERR` line: its text. */
  complaint(text: string): void;
  /** A part of a message has arrived, and the rest has not. */
  progress(): void;
  /** The most bytes that the payload of a message may have. */
  largest(): number;
}

/** The part of `nats.connect`'s options that says who we are. */
export interface NatsIdentity {
  name?: string;
  user?: string;
  pass?: string;
  token?: string;
  /** The public key; empty for none. */
  nkey?: string;
  nonceSigner?: (nonce: Buffer) => Buffer;
  userJWT?: string;
}

/**
 * A NATS connection on a stream that is ready for it. What the stream is, whether it is encrypted and to whom, was seen to
 * before: the wrapped client is told of a server that wants neither, and sends its CONNECT at once.
 */
export function adoptStream({ socket, greeting, rest }: Stream, identity: NatsIdentity): NatsConnection {
  // `nats` has no way to be given a socket. Its constructor makes one, by a function of Node's that is looked up in that
  // moment: for this one call, which runs nothing else, that function is ours.
  const { createConnection } = net;
  let connection: NatsConnection;
  try {
    net.createConnection = () => socket;
    // reconnect: false, because a session never lives through a NATS reconnect (acks and deliveries get lost in it).
    connection = nats.connect({
      ...identity,
      url: 'nats://127.0.0.1:4222',
      tls: false,
      reconnect: false,
      encoding: 'binary',
    });
  } finally {
    net.createConnection = createConnection;
  }
  const internals = internalsOf(connection);
  internals.connected = true;
  // Only what the client makes use of, and short: its parser takes no line of more than 4096 bytes.
  const info = { max_payload: greeting.maxPayload, nonce: greeting.nonce };
  internals.inbound = Buffer.from(`INFO ${JSON.stringify(info)}\r\n`);
  internals.processServerUpdate = () => {};
  internals.processInbound();
  internals.inbound = rest.length > 0 ? rest : null;
  return connection;
}

/** Takes in what had arrived before somebody listened. */
export function takeInRest(connection: NatsConnection): void {
  const internals = internalsOf(connection);
  if (internals.inbound) internals.processInbound();
}

/**
 * Puts itself before the parser: reads what {@link takeFrames} asked for and the lines that are for `hearing`, and catches
 * what the parser throws, over an answer that is no protobuf, out of a callback. It would be thrown in an event of the socket,
 * and end the process. What cannot be a frame of a NATS server is thrown, too: waiting for its end would be for ever.
 */
export function guardParser(connection: NatsConnection, onThrown: (thrown: unknown) => void, hearing?: Hearing): void {
  const internals = internalsOf(connection);
  const parse = internals.processInbound.bind(connection);
  const receiver = (sid: number): OnPayload | undefined => internals.subs?.[sid]?.takes;
  const alive = (): boolean => internals.subs !== null;

  /** Hands the parser the first bytes, and checks that it knew what to do with them. */
  const parseFirst = (count: number): void => {
    const inbound = internals.inbound as Buffer;
    const { pstate } = internals;
    const given = count >= inbound.length ? inbound : inbound.subarray(0, count);
    // A frame at a time: of all that it is given it would read our frames, too.
    internals.inbound = given;
    parse();
    if (!alive()) return;
    const left = internals.inbound as Buffer | null;
    const untouched = left !== null && left.length === given.length && pstate === 0 && internals.pstate === 0;
    const whole = Number.isFinite(count) || given.length > LONGEST_LINE || given.includes('\r\n');
    if (untouched && whole) {
      throw new Error(printable(given.toString('latin1', 0, 80)));
    }
    const largest = hearing?.largest() ?? Infinity;
    if (internals.payload && internals.payload.size > largest)
      throw new Error(tooLarge(internals.payload.size, largest));
    if (given === inbound) return;
    const rest = inbound.subarray(count);
    internals.inbound = left ? Buffer.concat([left, rest]) : rest;
  };

  /** Reads a line that is not for the parser. False: it is. */
  const readLine = (length: number): boolean => {
    if (hearing === undefined) return false;
    const inbound = internals.inbound as Buffer;
    const info = INFO.test(inbound.toString('latin1', 0, 5));
    if (!Number.isFinite(length)) {
      if (inbound.length > (info ? LONGEST_INFO : LONGEST_LINE)) throw new Error('a line without an end');
      return true;
    }
    if (!info && inbound[0] !== MINUS) return false;
    const line = inbound.toString('utf8', 0, length - 2);
    internals.inbound = length === inbound.length ? null : inbound.subarray(length);
    if (info) hearing.info(line.slice(5));
    else hearing.complaint(textOfComplaint(line));
    return true;
  };

  internals.processInbound = () => {
    try {
      while (internals.inbound) {
        const before = internals.inbound;
        if (internals.pstate !== 0) parseFirst(internals.payload!.psize);
        else {
          const { consumed, parse: count, line } = readFrames(before, receiver, alive, hearing?.largest());
          if (!alive()) return;
          internals.inbound = consumed === before.length ? null : before.subarray(consumed);
          if (count === 0) break;
          if (!(line && readLine(count))) parseFirst(count);
        }
        if (!alive()) return;
        const after = internals.inbound;
        // Nothing more can be done before more has arrived.
        if (after !== null && after.length === before.length) break;
      }
      if (alive() && (internals.pstate !== 0 || internals.inbound?.[0] === M)) hearing?.progress();
    } catch (thrown) {
      onThrown(thrown);
    }
  };
  // Servers that the server tells of are read from its INFO by us.
  internals.processServerUpdate = () => {};
}

const M = 77;
const MINUS = 45;
const INFO = /^INFO\s/i;

/** `-ERR 'text'`, with or without the quotation marks. */
function textOfComplaint(line: string): string {
  const text = /^-\S*\s*(.*)$/s.exec(line)?.[1] ?? '';
  return printable(text.replace(/^'(.*)'$/s, '$1'));
}

/**
 * Takes what a NATS subscription of the wrapped client brings, before it goes through protobuf objects: `codec.ts` reads it
 * at a fraction of the cost. What the callback throws ends the connection.
 */
export function takeFrames(connection: NatsConnection, subscription: number, onPayload: OnPayload): void {
  const taken = internalsOf(connection).subs?.[subscription];
  if (taken === undefined) throw new Error(`the wrapped client has no NATS subscription ${subscription}`);
  // What the parser comes upon first, and what we do.
  taken.callback = onPayload;
  taken.takes = onPayload;
}

export const createInbox = (): string => nats.createInbox();
export const connectStan = (clusterId: string, clientId: string, options: StanConnectOptions): StanConnection =>
  stan.connect(clusterId, clientId, options);

/** The subject on which a leader, and nobody else, answers pings. */
export const pingSubject = (clusterId: string): string => `_STAN.discover.${clusterId}.pings`;

export function encodePing(connectionId: Uint8Array): Buffer {
  const ping = new pb.Ping();
  ping.setConnId(connectionId);
  return Buffer.from(ping.serializeBinary());
}

/** The error text of a ping response; empty when the connection ID is registered. No bytes at all are a good answer. */
export function decodePingError(binary: string): string {
  return binary === '' ? '' : pb.PingResponse.deserializeBinary(Buffer.from(binary, 'binary')).getError();
}

export function encodeCloseRequest(clientId: string): Buffer {
  const request = new pb.CloseRequest();
  request.setClientId(clientId);
  return Buffer.from(request.serializeBinary());
}

/** The error text of the answer to a close request; empty when the client is not registered any more. */
export function decodeCloseError(binary: string): string {
  return pb.CloseResponse.deserializeBinary(Buffer.from(binary, 'binary')).getError();
}
