import { InternalError } from '../errors.js';

/**
 * The state of a client:
 *
 * - `'connecting'`: before its first session;
 * - `'connected'`: it has a session;
 * - `'reconnecting'`: its session was lost, and there is no other yet;
 * - `'closing'`: `close()` is under way;
 * - `'closed'`: nothing follows.
 *
 * @category Client
 */
export type ConnectionState = 'connecting' | 'connected' | 'reconnecting' | 'closing' | 'closed';

/** Every legal transition. Any other one is a bug in this library. */
export const TRANSITIONS: Readonly<Record<ConnectionState, readonly ConnectionState[]>> = {
  connecting: ['connected', 'closing'],
  connected: ['reconnecting', 'closing'],
  reconnecting: ['connected', 'closing'],
  closing: ['closed'],
  closed: [],
};

/** Holds the state. A transition that is not in the table throws. */
export class StateMachine {
  #state: ConnectionState = 'connecting';
  readonly #onChange: (from: ConnectionState, to: ConnectionState) => void;

  constructor(onChange: (from: ConnectionState, to: ConnectionState) => void) {
    this.#onChange = onChange;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  to(next: ConnectionState): void {
    const from = this.#state;
    if (!TRANSITIONS[from].includes(next)) throw new InternalError(`illegal state transition ${from} -> ${next}`);
    this.#state = next;
    this.#onChange(from, next);
  }
}
