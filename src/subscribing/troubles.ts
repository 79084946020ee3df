/** What goes wrong with the messages of subscriptions, as the client hears of it, and in which words it is logged. */
import { describe } from '../errors.js';
import { printable } from '../printable.js';
import type { StanMessage } from './message.js';
import type { ResilientSubscription, SubscriptionEvents } from './subscription.js';

/** The events of a subscription that its client emits as well, with the subscription. */
export type TroubleEvents = Pick<SubscriptionEvents, 'handler_error' | 'gap' | 'reset' | 'dead_letter'>;

/** Whether an event of a subscription is one that its client emits as well. */
export function isTrouble(event: keyof SubscriptionEvents): event is keyof TroubleEvents {
  return event === 'handler_error' || event === 'gap' || event === 'reset' || event === 'dead_letter';
}

type Payload<E extends keyof TroubleEvents> = Parameters<TroubleEvents[E]>[0] & { subscription: ResilientSubscription };

/** One trouble. The name of those that are events is that of the event. */
export type Trouble =
  | { [E in keyof TroubleEvents]: { readonly event: E; readonly payload: Payload<E> } }[keyof TroubleEvents]
  /** A handler runs for longer than `ackWait`, in ms. */
  | {
      readonly event: 'overdue';
      readonly payload: { subscription: ResilientSubscription; message: StanMessage; ackWait: number };
    };

/** A line of the log. */
export interface TroubleLine {
  /** `error` is for what a person should look at: messages that nobody handles any more. */
  readonly level: 'warn' | 'error';
  readonly text: string;
  readonly details: Record<string, unknown>;
}

/**
 * Returns the line of the log for a trouble. Pure.
 * @param buried whether a function of the user has taken the dead letter
 */
export function troubleLine({ event, payload }: Trouble, buried: boolean): TroubleLine {
  const { channel } = payload.subscription;
  const on = (sequence: number): string => `message ${sequence} of channel '${channel}'`;
  switch (event) {
    case 'handler_error': {
      const { error, message, source, delay } = payload;
      const { sequence } = message;
      const said = printable(describe(error));
      if (source === 'deadLetter') {
        const text = `deadLetter failed on ${on(sequence)}, which stays unacknowledged and comes again: ${said}`;
        return { level: 'error', text, details: { channel, sequence, error } };
      }
      const again = delay === undefined ? '' : `, and gets it again in ${delay} ms`;
      return {
        level: 'warn',
        text: `the handler failed on ${on(sequence)}${again}: ${said}`,
        details: { channel, sequence, error },
      };
    }
    case 'dead_letter': {
      const { error, message } = payload;
      const { sequence } = message;
      const where = buried ? 'given to deadLetter' : "acknowledged and dropped, because there is no 'deadLetter'";
      return {
        level: buried ? 'warn' : 'error',
        text: `${on(sequence)} is given up: ${where}. Its last error: ${printable(describe(error))}`,
        details: { channel, sequence, error },
      };
    }
    case 'gap': {
      const { from, to } = payload;
      const which = from === to ? `message ${from}` : `messages ${from} to ${to}`;
      return {
        level: 'error',
        text:
          `${which} of channel '${channel}' are gone: the server has dropped them by the limits of the channel (number, ` +
          `size or age) before they were processed. Raise these limits, or handle messages faster`,
        details: { channel, from, to },
      };
    }
    case 'reset': {
      const { expected, got } = payload;
      return {
        level: 'warn',
        text:
          `channel '${channel}' was deleted and has begun again: message ${got} came where ${expected} should have come. ` +
          `It is read from its new beginning`,
        details: { channel, expected, got },
      };
    }
    case 'overdue': {
      const { message, ackWait } = payload;
      const { sequence } = message;
      return {
        level: 'warn',
        text:
          `the handler of ${on(sequence)} has not ended after ackWait (${ackWait} ms), so the server sends the message ` +
          `again, in a queue group perhaps to another member. Set 'ackWait' to more than the handler ever needs, or find ` +
          `out what it waits for`,
        details: { channel, sequence, ackWait },
      };
    }
  }
}
