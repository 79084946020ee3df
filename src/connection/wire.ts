/**
 * The door to the wrapped packages: the small, honest part of `node-nats-streaming` 0.3.2 and `nats` 1.4.12 that this
 * library stands on, internals included. Their own declarations are wrong in places, and both packages are archived and
 * pinned exactly, so their internals no longer move.
 */
import { createRequire } from 'node:module';
import type { EventEmitter } from 'node:events';
import { readFrames, type Receiver } from './inbound.js';

const require = createRequire(import.meta.url);

/** A NATS connection of `nats` 1.4.12. */
export interface NatsConnection extends EventEmitter {
  readonly connected: boolean;
  readonly closed?: boolean;
  readonly info: { max_payload?: number; server_id?: string } | null;
  publish(subject: string, data?: Buffer, reply?: string): void;
  /** Sends a whole frame of the NATS protocol, as it is. Coalesced with others into one write. */
  sendCommand(frame: Buffer): void;
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

const nats = require('nats') as {
  connect(options: Record<string, unknown>): NatsConnection;
  createInbox(): string;
  NatsError: new (...args: never[]) => Error & { code?: string; chainedError?: Error & { code?: string } };
};

const stan = require('node-nats-streaming') as {
  connect(clusterId: string, clientId: string, options: StanConnectOptions): StanConnection;
  StartPosition: { NEW_ONLY: number; LAST_RECEIVED: number; FIRST: number };
};

const { pb } = require('node-nats-streaming/lib/pb') as {
  pb: {
    Ping: new () => ProtobufMessage & { setConnId(id: Uint8Array): void };
    PingResponse: { deserializeBinary(bytes: Uint8Array): ErrorResponse };
    CloseRequest: new () => ProtobufMessage & { setClientId(id: string): void };
  };
};

export const StartAt = stan.StartPosition;
export const NatsError = nats.NatsError;
export const connectNats = (options: Record<string, unknown>): NatsConnection => nats.connect(options);

/** What `nats` 1.4.12 keeps of a connection, as far as it is used here. */
interface Internals {
  /** What has arrived and is not parsed. */
  inbound: Buffer | null;
  /** What the parser expects: 0, a line. */
  pstate: number;
  /** Of the message whose payload it expects: how many bytes are missing, the end of line included. */
  payload: { psize: number } | null;
  /** By their numbers; null when the connection is closed. */
  subs: Record<number, { callback: OnPayload; takes?: OnPayload } | undefined> | null;
  processInbound(): void;
  processServerUpdate(): void;
}

type OnPayload = (payload: string) => void;

const internalsOf = (connection: NatsConnection): Internals => connection as unknown as Internals;

/**
 * Puts itself before the parser: reads what {@link takeFrames} asked for, and catches what the parser throws, over an INFO
 * that is no JSON, over an answer that is no protobuf, out of a callback. It would be thrown in an event of the socket, and
 * end the process.
 */
export function guardParser(connection: NatsConnection, onThrown: (thrown: unknown) => void): void {
  const internals = internalsOf(connection);
  const parse = internals.processInbound.bind(connection);
  const receiver = (sid: number): OnPayload | undefined => internals.subs?.[sid]?.takes;
  const alive = (): boolean => internals.subs !== null;
  internals.processInbound = () => {
    try {
      while (internals.inbound) {
        const forParser = internals.pstate === 0 ? readOurs(internals, receiver, alive) : internals.payload!.psize;
        if (forParser === 0) return;
        const { inbound } = internals;
        if (forParser >= inbound.length) {
          parse();
          return;
        }
        // A frame at a time: of all that it is given it would read our frames, too.
        internals.inbound = inbound.subarray(0, forParser);
        parse();
        if (!alive()) return;
        const rest = inbound.subarray(forParser);
        if (internals.inbound) {
          internals.inbound = Buffer.concat([internals.inbound, rest]);
          parse();
          return;
        }
        internals.inbound = rest;
      }
    } catch (thrown) {
      onThrown(thrown);
    }
  };
  // Servers that the server tells of are not wanted: nobody dials them, one that is no URL would be thrown over, and with
  // one in its list the client keeps to itself why a TLS handshake failed.
  internals.processServerUpdate = () => {};
}

/** Reads what is ours, and returns how many of the bytes that are then in `inbound` are for the parser. */
function readOurs(internals: Internals, receiver: Receiver, alive: () => boolean): number {
  const inbound = internals.inbound as Buffer;
  const { consumed, parse } = readFrames(inbound, receiver, alive);
  if (!alive()) return 0;
  internals.inbound = consumed === inbound.length ? null : inbound.subarray(consumed);
  return parse;
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
