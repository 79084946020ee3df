/**
 * What makes the sessions of a client, as the supervisor sees it. `nats-gateway.ts` makes them with servers, and
 * `resilient-stan/testing` with a server in memory.
 */
import type { Clock } from '../clock/clock.js';
import type { ConnectionLostError, PermissionError } from '../errors.js';
import type { ServerComplaint } from './link.js';
import type { Participants } from './participants.js';
import type { InHand, Session } from './protocol.js';
import type { Registration } from './take-over.js';
import type { ConnectionSettings } from './settings.js';

/** The end of a session that nobody asked for. */
export interface Loss {
  error: ConnectionLostError;
  /** The data that a take-over needs. */
  registration: Registration;
  /** A search for the leader that is under way or has succeeded. */
  successor: Search | undefined;
  /** The server's complaint when it ended the session, if there was one. */
  complaint: ServerComplaint | undefined;
  /** The subscribe requests without an answer, if the server complained. */
  requests: InHand[];
  /** Whether somebody was told that a request can never be granted, so that it does not end the next session as well. */
  settled: boolean;
}

/** A session, with what the supervisor does to it. */
export interface SupervisedSession extends Session {
  readonly registration: Registration;
  /** Whether an answer of the leader is overdue. */
  readonly suspect: boolean;
  /** Resolves when the session is lost. It never rejects. */
  readonly lost: Promise<Loss>;
  /**
   * Ends the session in order. The client ID is free afterwards, and durables keep their position.
   * @param timeout longest wait for the server's answer, in ms
   */
  close(timeout: number): Promise<void>;
  /** Shortens a `close` that is under way to this time from now, in ms. */
  hurry(timeout: number): void;
  /** Ends the session at once without telling anybody, the server included. */
  destroy(): void;
}

/** A search for the leader. `Found` is what it finds, which only its own {@link Gateway} knows how to use. */
export interface Search<Found = unknown> {
  /**
   * Runs one round. Resolves to what {@link Gateway.register} takes. After a round that failed the search may go on by itself.
   * @throws the error that says why no leader was found
   */
  round(): Promise<Found>;
  /** Notes that nobody has used the search for so long, in ms, so that what it has found may not be good any more. */
  wasIdle(duration: number): void;
  /** Ends the search. @param keepWinner what was found is kept */
  cancel(keepWinner?: boolean): void;
  /** Is called when the leader is found, in a round or between two rounds. */
  onWon: (() => void) | undefined;
}

export interface NewSession {
  /** The number of the session in its client, from 1. */
  ordinal: number;
  /** The registration of the lost session. */
  previous: Registration | undefined;
  /** Calls the registration off. */
  signal: AbortSignal;
}

/** @typeParam Found what its searches find */
export interface Gateway<Found = unknown> {
  /** Notes that a server failed at some step. */
  failed(url: string): void;
  /** Notes that a session through a server has lasted. */
  served(url: string): void;
  /**
   * Returns a search for the leader.
   * @param previous the connection ID of the lost session
   * @param first whether no session was lost yet
   */
  search(previous: Uint8Array | undefined, first: boolean): Search<Found>;
  /**
   * Registers the client.
   * @param found what a search of this gateway has found
   * @throws ClientIdConflictError when another live client has the ID; PermissionError; ConnectError
   */
  register(found: Found, session: NewSession): Promise<SupervisedSession>;
}

/** What a gateway is made with. */
export interface GatewayParts {
  settings: ConnectionSettings;
  participants: Participants;
  clock: Clock;
  /** Is called when an answer of the leader is overdue, with the server of the session and the length of the silence in ms. */
  suspected: (server: string, silence: number) => void;
  /** Is called when the server forbids something that the session can do without. */
  denied: (error: PermissionError) => void;
  /** Is told of errors that need a person but end nothing. */
  complain: (error: Error) => void;
}

export type MakeGateway = (parts: GatewayParts) => Gateway;
