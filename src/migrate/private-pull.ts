/**
 * Takes messages from a consumer that is being made, and that nobody else shall use yet. JetStream cannot hide a consumer, but it
 * refuses a request that is to wait for longer than {@link NOT_READY_EXPIRES}. The clients of applications say how long a request
 * is to wait. The requests here say nothing, and end when nobody listens for their answers any more.
 */
import type { Msg } from '@nats-io/transport-node';
import { makeClock } from '../clock/clock.js';
import { stanSequenceOf } from './seam.js';
import type { Target } from './target.js';

/** The longest wait that a consumer allows while it is made, in ns: the shortest time that a server takes, 1 ms. */
export const NOT_READY_EXPIRES = 1e6;

/** How often it looks whether the server is silent, in ms. */
const LOOK = 250;

/** A message that a consumer has delivered. */
export interface Taken {
  /** Its sequence in the stream. */
  readonly sequence: number;
  /** Its sequence in STAN. NaN when it was never there. */
  readonly inStan: number;
  readonly ack: () => void;
  /** Gives it back to the consumer, which delivers it again. */
  readonly giveBack: () => void;
}

/**
 * Takes up to so many messages.
 * @param patience how long the server may send nothing, in ms
 * @returns fewer when the server sends no more
 */
export async function takePrivately(
  { connection, client }: Target,
  stream: string,
  consumer: string,
  count: number,
  patience: number,
): Promise<Taken[]> {
  const inbox = client.core.createInbox();
  const clock = makeClock();
  const taken: Taken[] = [];
  let heard = clock.now();
  await new Promise<void>((resolve) => {
    let cancel = (): void => undefined;
    const subscription = connection.subscribe(inbox, {
      callback: (error, message) => {
        heard = clock.now();
        // The server says that there is nothing more, or nobody is there.
        const isOver = error !== null || message.headers?.code;
        if (!isOver) taken.push(takenOf(message));
        if (isOver || taken.length === count) end();
      },
    });
    const end = (): void => {
      cancel();
      if (!subscription.isClosed()) subscription.unsubscribe();
      resolve();
    };
    const watch = (): void => {
      if (clock.now() - heard >= patience || connection.isClosed()) end();
      else cancel = clock.after(Math.min(LOOK, patience), watch);
    };
    watch();
    connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, JSON.stringify({ batch: count }), {
      reply: inbox,
    });
  });
  return taken;
}

/**
 * The subject of the acknowledgement is `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<three more>`. Its longer form has the domain
 * and the account in front of the stream.
 */
function takenOf(message: Msg): Taken {
  const tokens = (message.reply ?? '').split('.');
  return {
    sequence: Number(tokens.length === 9 ? tokens[5] : tokens[7]),
    inStan: stanSequenceOf(message),
    ack: () => void message.respond(Buffer.from('+ACK')),
    giveBack: () => void message.respond(Buffer.from('-NAK')),
  };
}
