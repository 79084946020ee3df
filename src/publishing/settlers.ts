import { type ResilientStanError, type ResilientStanErrorOptions, toOurs } from '../errors.js';
import { inMicrotask } from '../microtask.js';

/**
 * The acknowledgement of one message by the cluster.
 * @category Publishing
 */
export interface PubAck {
  /** The ID of the sending that was acknowledged. Each sending of a message has another one. */
  guid: string;
  /** Name of the channel. */
  channel: string;
  /** How often the message was sent until this acknowledgement came. 1 without faults. */
  attempts: number;
}

/** Is told once what became of a message, in a microtask. Its methods must not throw. */
export interface PublishListener {
  /** The cluster has acknowledged the message. */
  stored(): void;
  /** The message was given up. `error.delivery` says what is known of it. */
  failed(error: ResilientStanError): void;
}

/** The resolve function of a promise. It rejects through it, because keeping the other function would cost each message 72 bytes. */
export type Resolve = (ack: PubAck | Promise<never>) => void;

/** Whoever waits for a message: a promise, or a listener. A listener costs less. */
export type Settler = Resolve | PublishListener;

/** Tells those who wait for messages what became of these. */
export class Settlers {
  /** Listeners, each with its error or undefined, that are told in the microtask that is queued. */
  #told: (PublishListener | ResilientStanError | undefined)[] = [];

  stored(settler: Settler, guid: string, channel: string, attempts: number): void {
    if (typeof settler === 'function') settler({ guid, channel, attempts });
    else this.#tell(settler, undefined);
  }

  failed(settler: Settler, error: unknown, about?: ResilientStanErrorOptions): void {
    const ours = toOurs(error, 'publish()', about);
    if (typeof settler === 'function') settler(Promise.reject(ours));
    else this.#tell(settler, ours);
  }

  /** Tells later, because a listener may publish, and what is being settled is half done. */
  #tell(listener: PublishListener, error: ResilientStanError | undefined): void {
    if (this.#told.push(listener, error) === 2) inMicrotask(this.#run);
  }

  readonly #run = (): void => {
    const told = this.#told;
    this.#told = [];
    for (let i = 0; i < told.length; i += 2) {
      const listener = told[i] as PublishListener;
      const error = told[i + 1] as ResilientStanError | undefined;
      if (error === undefined) listener.stored();
      else listener.failed(error);
    }
  };
}
