/**
 * The only access to the wrapped packages. It describes the parts of `node-nats-streaming` 0.3.2 and `nats` 1.4.12 that this
 * library uses, internals included. Their own declarations are wrong in places. Both packages are archived and their versions
 * are fixed, so the internals no longer change.
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
  /** Sends a whole frame of the NATS protocol unchanged. Several frames are sent in one write. */
  sendCommand(frame: Buffer | string): void;
  subscribe(subject: string, callback: (message: string, reply: string | undefined, subject: string) => void): number;
  unsubscribe(sid: number): void;
  /** Sends a NATS PING. The callback is called at the PONG, or with an error when the connection ends. */
  flush(callback: (error?: Error) => void): void;
  /** Removes all listeners and destroys the socket at once, with the contents of its buffers. */
  close(): void;
}

export interface StanSubscription extends EventEmitter {
  /** The subject for acknowledgements. It is known after the subscribe response. */
  ackInbox: string | undefined;
  /** The number of the NATS subscription that brings its messages. */
  inboxSub: number;
  /** The first request to end the subscription removes it. Without it there is no second request. */
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
  /** `connectTimeout` is also the limit for the answer to each request, in ms. */
  readonly options: { connectTimeout: number };
  pingTimer?: NodeJS.Timeout;
  /** The prefix of the subjects that publishes go to. */
  pubPrefix: string;
  /** The subjects of the other requests. */
  subRequests: string;
  unsubRequests: string;
  subCloseRequests: string;
  /** The subject that the acknowledgements of publishes go to. */
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
  createInbox: () => string;
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

/** The internals of a connection of `nats` 1.4.12 that are used here. */
interface Internals {
  stream: Socket | null;
  /** Whether the socket is connected. */
  connected: boolean;
  /** The bytes that have arrived and are not parsed. */
  inbound: Buffer | null;
  /** The state of the parser: 0 if it expects a line. */
  pstate: number;
  /** The message whose payload is expected: its size, and the number of missing bytes with the end of the line. */
  payload: { size: number; psize: number } | null;
  /** The subscriptions by number; null when the connection is closed. */
  subs: Record<number, { callback: OnPayload; takes?: OnPayload } | undefined> | null;
  processInbound(): void;
  processServerUpdate(): void;
  /** Writes CONNECT to the stream. */
  sendConnect(): void;
}

type OnPayload = (payload: string) => void;

const internalsOf = (connection: NatsConnection): Internals => connection as unknown as Internals;

/** Hears everything that arrives besides messages. */
export interface Hearing {
  /** Hears an INFO line, without `INFO `. */
  info(json: string): void;
  /** Hears the text of an `-ERR` line. */
  complaint(text: string): void;
  /** Hears that a part of a message has arrived and the rest has not. */
  progress(): void;
  /** Returns the most bytes of a message's payload. */
  largest(): number;
}

/** The options of `nats.connect` that say who we are. */
export interface NatsIdentity {
  name?: string;
  user?: string;
  pass?: string;
  token?: string;
  /** The public key; empty if there is none. */
  nkey?: string;
  nonceSigner?: (nonce: Buffer) => Buffer;
  userJWT?: string;
}

/**
 * Makes a NATS connection on a stream that is ready. Encryption and verification are done before, so the wrapped client is told
 * of a server without TLS and sends its CONNECT at once.
 *
 * @param connect is added to the CONNECT
 */
export function adoptStream(
  { socket, greeting, rest }: Stream,
  identity: NatsIdentity,
  connect?: Readonly<Record<string, unknown>>,
): NatsConnection {
  // `nats` cannot be given a socket. Its constructor makes one with a function of Node that it looks up at that moment. For
  // this one call, which runs no other code, the function is replaced.
  const { createConnection } = net;
  let connection: NatsConnection;
  try {
    net.createConnection = () => socket;
    // `reconnect` is false, because a session never lives through a NATS reconnect, which loses acknowledgements and messages.
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
  if (connect !== undefined) addToConnect(internals, connect);
  internals.connected = true;
  // The INFO has only the fields that the client uses, because its parser takes no line of more than 4096 bytes.
  const info = { max_payload: greeting.maxPayload, nonce: greeting.nonce };
  internals.inbound = Buffer.from(`INFO ${JSON.stringify(info)}\r\n`);
  internals.processServerUpdate = () => {};
  internals.processInbound();
  internals.inbound = rest.length > 0 ? rest : null;
  return connection;
}

/** Adds fields to the CONNECT, which the wrapped client writes as one text. */
function addToConnect(internals: Internals, fields: Readonly<Record<string, unknown>>): void {
  const sendConnect = internals.sendConnect.bind(internals);
  internals.sendConnect = () => {
    const { stream } = internals;
    const write = (line: string): boolean => {
      const json = JSON.parse(line.slice(line.indexOf('{'))) as object;
      return stream!.write(`CONNECT ${JSON.stringify({ ...json, ...fields })}\r\n`);
    };
    // It is replaced for this one call, which does nothing else with it.
    internals.stream = { write } as unknown as Socket;
    try {
      sendConnect();
    } finally {
      internals.stream = stream;
    }
  };
}

/** Gives all lines that arrive to a function, in the place of the parser. For a connection that nothing else uses. */
export function readLines(connection: NatsConnection, onLine: (line: string) => void): void {
  const internals = internalsOf(connection);
  internals.processInbound = () => {
    for (;;) {
      const { inbound } = internals;
      const end = inbound?.indexOf('\r\n') ?? -1;
      // Longer lines are of no interest here.
      if (inbound !== null && end < 0 && inbound.length > LONGEST_INFO) internals.inbound = null;
      if (inbound === null || end < 0) return;
      internals.inbound = end + 2 === inbound.length ? null : inbound.subarray(end + 2);
      onLine(inbound.toString('latin1', 0, end));
    }
  };
}

/** Reads the bytes that arrived before there were listeners. */
export function takeInRest(connection: NatsConnection): void {
  const internals = internalsOf(connection);
  if (internals.inbound) internals.processInbound();
}

/**
 * Comes before the parser. It reads the frames of {@link takeFrames} and the lines for `hearing`, and catches errors that the
 * parser or a callback throws, for example about an answer that is no protobuf. Such an error would be thrown in an event of
 * the socket and end the process. Bytes that cannot be a frame of a NATS server are an error too, because the wait for their
 * end would never end.
 */
export function guardParser(connection: NatsConnection, onThrown: (thrown: unknown) => void, hearing?: Hearing): void {
  const internals = internalsOf(connection);
  const parse = internals.processInbound.bind(connection);
  const receiver = (sid: number): OnPayload | undefined => internals.subs?.[sid]?.takes;
  const alive = (): boolean => internals.subs !== null;

  /** Gives the parser the first bytes and checks that it has used them. */
  const parseFirst = (count: number): void => {
    const inbound = internals.inbound as Buffer;
    const { pstate } = internals;
    const given = count >= inbound.length ? inbound : inbound.subarray(0, count);
    // The parser gets one frame at a time, because it would also read our frames in the rest.
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

  /** Reads a line that is not for the parser. Returns false if the parser has to read it. */
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
        // Nothing more can be read until more bytes arrive.
        if (after !== null && after.length === before.length) break;
      }
      if (alive() && (internals.pstate !== 0 || internals.inbound?.[0] === M)) hearing?.progress();
    } catch (thrown) {
      onThrown(thrown);
    }
  };
  // We read the announced servers from the INFO ourselves.
  internals.processServerUpdate = () => {};
}

const M = 77;
const MINUS = 45;
const INFO = /^INFO\s/i;

/** Returns the text of `-ERR 'text'`, with or without quotation marks. */
function textOfComplaint(line: string): string {
  const text = /^-\S*\s*(.*)$/s.exec(line)?.[1] ?? '';
  return printable(text.replace(/^'(.*)'$/s, '$1'));
}

/**
 * Takes the payloads of a NATS subscription of the wrapped client before they become protobuf objects, because `codec.ts` reads
 * them at a fraction of the cost. An error of the callback ends the connection.
 */
export function takeFrames(connection: NatsConnection, subscription: number, onPayload: OnPayload): void {
  const taken = internalsOf(connection).subs?.[subscription];
  if (taken === undefined) throw new Error(`the wrapped client has no NATS subscription ${subscription}`);
  // The parser calls the first one, and our own reader the second one.
  taken.callback = onPayload;
  taken.takes = onPayload;
}

export const createInbox = (): string => nats.createInbox();

/**
 * Subscribes with an inbox that is not one of the wrapped client's making. That one makes it while it is asked to subscribe, and
 * cannot be told another.
 */
export function withInbox(inbox: string | undefined, subscribe: () => StanSubscription): StanSubscription {
  if (inbox === undefined) return subscribe();
  const { createInbox: own } = nats;
  nats.createInbox = () => inbox;
  try {
    return subscribe();
  } finally {
    nats.createInbox = own;
  }
}

export const connectStan = (clusterId: string, clientId: string, options: StanConnectOptions): StanConnection =>
  stan.connect(clusterId, clientId, options);

/** Returns the subject on which only a leader answers pings. */
export const pingSubject = (clusterId: string): string => `_STAN.discover.${clusterId}.pings`;

/** Returns the subject that every node of a cluster listens to, whether it leads or not. */
export const joinSubject = (clusterId: string): string => `_STAN.raft.${clusterId}.join`;

export function encodePing(connectionId: Uint8Array): Buffer {
  const ping = new pb.Ping();
  ping.setConnId(connectionId);
  return Buffer.from(ping.serializeBinary());
}

/** Returns the error text of a ping response; empty if the connection ID is registered. An answer without bytes means the same. */
export function decodePingError(binary: string): string {
  return binary === '' ? '' : pb.PingResponse.deserializeBinary(Buffer.from(binary, 'binary')).getError();
}

export function encodeCloseRequest(clientId: string): Buffer {
  const request = new pb.CloseRequest();
  request.setClientId(clientId);
  return Buffer.from(request.serializeBinary());
}

/** Returns the error text of the answer to a close request; empty if the client is no longer registered. */
export function decodeCloseError(binary: string): string {
  return pb.CloseResponse.deserializeBinary(Buffer.from(binary, 'binary')).getError();
}
