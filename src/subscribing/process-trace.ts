import { Tracing, type Teller } from '../tracing.js';
import type { MessageHandler, StanMessage } from './message.js';
import type { ResilientSubscription } from './subscription.js';

/**
 * What a listener of `tracingChannel('resilient-stan:process')` gets: one object for each call of a message handler, the same
 * from `start` to `asyncEnd`. A message whose handler failed, and that is handed over again, has a new one.
 *
 * `start` and `end` come before and after the call of the handler; `error` if it throws or rejects; then `asyncStart` and
 * `asyncEnd`, when it is through and before the message is acknowledged. `asyncEnd` is always the last, also if the handler is
 * synchronous.
 *
 * A store that is bound to `start` is active in the handler. The body of a `for await` loop over `messages()` is no function
 * that is called: there the operation lasts from the hand-over until the next message is asked for, and the store is not active.
 *
 * @example
 * ```ts
 * import { tracingChannel } from 'node:diagnostics_channel';
 * import type { ProcessTrace } from 'resilient-stan';
 *
 * tracingChannel<unknown, ProcessTrace>('resilient-stan:process').error.subscribe((message) => {
 *   const { subscription, message: { sequence }, error } = message as ProcessTrace;
 *   console.warn(`message ${sequence} of '${subscription.channel}'`, error);
 * });
 * ```
 * @category Monitoring
 */
export interface ProcessTrace {
  /** The client ID of the client that subscribes. */
  readonly clientId: string;
  /** The cluster ID of that client. */
  readonly clusterId: string;
  /** The subscription whose handler is called. */
  readonly subscription: ResilientSubscription;
  /** The message that it gets. */
  readonly message: StanMessage;
  /** What the handler returned or resolved to; the client does nothing with it. It is set before `asyncStart`. */
  result?: unknown;
  /** What the handler threw or rejected with. It is set before `error`. */
  error?: unknown;
  /** A loop over `messages()` was left with this message in hand. It is neither processed nor failed, and not acknowledged. */
  abandoned?: boolean;
}

const processTracing = new Tracing<ProcessTrace>('resilient-stan:process');

/** What the trace says of the receiver of a message. */
export interface ProcessTraceHost {
  readonly teller: Teller;
  readonly subscription: ResilientSubscription;
}

/**
 * Returns a handler that calls the given one, and tells of each call if anybody listens.
 * @param unprocessed what the handler rejects with if the message was given up without having failed
 */
export function traced(handler: MessageHandler, host: ProcessTraceHost, unprocessed: symbol): MessageHandler {
  return (message) => {
    if (!processTracing.wanted) return handler(message);
    const { teller, subscription } = host;
    // Written out, because an object that is spread and added to costs two microseconds.
    const { clientId, clusterId } = teller;
    return processTracing.run({ clientId, clusterId, subscription, message }, () => handler(message), unprocessed);
  };
}
