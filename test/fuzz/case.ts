/**
 * One case of the fuzz: a client with two servers in its list. The first is a scripted peer that lies in a way drawn from
 * the seed and the number of the case, the second is good. Wherever the lies leave the client, what it publishes has to be
 * acknowledged and received; and when the liar is gone, at the good one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ResilientStan, type Logger } from '../../src/index.js';
import { between, pick, randomFrom } from '../../src/testing/random.js';
import { Peer, type PeerHooks, type Step } from '../support/peer.js';
import { MUTATIONS } from './mutations.js';

/** Where the first lie is told: before, in or after the handshake. */
const STEPS: readonly Step[] = ['info', 'pong', 'ask', 'connect', 'publish', 'subscribe', 'message', 'close'];
/** How long the client may take to get over it, ms. */
const PATIENCE = 20_000;

export interface Plan {
  step: Step;
  mutation: string;
  /** The first of these frames that is spoilt, and how many are. */
  from: number;
  times: number;
  /** The connection is closed after the last of them. */
  hangsUp: boolean;
  /** It hangs up once in any case, so that there is a session to be taken over. */
  restarts: boolean;
}

/** What happens in a case. */
export function plan(seed: number, number: number): Plan {
  const random = randomOf(seed, number);
  const often = random() < 0.3;
  const step = pick(random, STEPS);
  return {
    step,
    mutation: pick(random, Object.keys(MUTATIONS)),
    from: random() < 0.6 ? 1 : between(random, 2, 4),
    times: often ? between(random, 2, 20) : 1,
    hangsUp: random() < 0.1,
    restarts: step === 'close' || random() < 0.3,
  };
}

export const describePlan = ({ step, mutation, from, times, hangsUp, restarts }: Plan): string =>
  `'${step}' from frame ${from} on, ${times} times: ${mutation}${hangsUp ? ', then hangs up' : ''}` +
  (restarts ? '; hangs up once' : '');

const randomOf = (seed: number, number: number) =>
  randomFrom(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(number, 0x85ebca6b));

/** What it lies with, and a way to see whether it has. */
function hooksOf(seed: number, number: number): { hooks: PeerHooks; told: () => number } {
  const { step, mutation, from, times, hangsUp } = plan(seed, number);
  const random = randomOf(seed, number + 0x40000000);
  const mutate = MUTATIONS[mutation]!;
  let seen = 0;
  let told = 0;
  const frame: PeerHooks['frame'] = (usual, of, connection) => {
    if (of !== step || ++seen < from || told >= times) return usual;
    told += 1;
    for (const piece of mutate(usual, step, random)) connection.raw(piece);
    if (hangsUp && told === times) setImmediate(() => connection.end());
    return undefined;
  };
  return { hooks: { frame }, told: () => told };
}

export interface Outcome {
  /** The lie was told at all: not every case comes that far. */
  lied: boolean;
  /** It was at the good one before the liar was gone. */
  left: boolean;
  losses: number;
}

/** @throws Error when the client does not get over it */
export async function runCase(good: Peer, seed: number, number: number, logger?: Logger): Promise<Outcome> {
  let stage = 'the connect';
  let alarm: NodeJS.Timeout | undefined;
  const stuck = new Promise<never>((_, reject) => {
    alarm = setTimeout(() => reject(new Error(`it is stuck in ${stage}`)), 3 * PATIENCE);
  });
  try {
    return await Promise.race([attend(good, seed, number, (next) => (stage = next), logger), stuck]);
  } finally {
    clearTimeout(alarm);
  }
}

async function attend(
  good: Peer,
  seed: number,
  number: number,
  enter: (stage: string) => void,
  logger: Logger | undefined,
): Promise<Outcome> {
  const { hooks, told } = hooksOf(seed, number);
  await using liar = await Peer.listen({ hooks, clusterOf: good });
  // A first connect may be refused for good, and rightly: by words that the liar has found. Then it is made again.
  const stan = await eventually('connects', async (left) => {
    return await ResilientStan.connect([liar.url, good.url], {
      clientId: `case-${number}-${left}`,
      randomize: false,
      connectTimeout: 500,
      initialConnect: { retries: 10, minTimeout: 1, maxTimeout: 20 },
      reconnect: { minTimeout: 1, maxTimeout: 20 },
      publishing: { ackTimeout: 500 },
      ...(logger && { logger }),
    });
  });
  try {
    enter('the subscribe');
    const channel = `channel-${number}`;
    const received = new Set<string>();
    const take = (text: string): void => void received.add(text);
    await eventually('subscribes', (left) => {
      return stan.subscribe(channel, (message) => take(message.string()), { signal: AbortSignal.timeout(left) });
    });
    enter('the round trip with the liar');
    if (plan(seed, number).restarts) liar.hangUp();
    await roundTrip('with the liar in the list', stan, channel, received);
    const left = stan.server === good.url;
    enter('the end of the liar');
    await liar.stop();
    enter('the round trip without the liar');
    await roundTrip('without the liar', stan, channel, received);
    if (stan.server !== good.url) throw new Error(`it is at ${stan.server}, and not at ${good.url}`);
    return { lied: told() > 0, left, losses: stan.stats().losses };
  } finally {
    enter('the close');
    await stan.close({ timeout: 0 });
  }
}

/** Publishes until one message is acknowledged and received: one of them may be refused, or spoilt. */
async function roundTrip(when: string, stan: ResilientStan, channel: string, received: Set<string>): Promise<void> {
  const deadline = performance.now() + PATIENCE;
  const acknowledged = new Set<string>();
  const refused: string[] = [];
  for (let i = 0; performance.now() < deadline; i++) {
    const text = `${when} ${i}`;
    stan.publish(channel, text).then(
      () => acknowledged.add(text),
      (error: Error) => refused.push(error.message),
    );
    // A few at once, and then ever less often.
    const next = i < 4 ? 0 : Math.min(5 + i * 10, 250);
    for (let waited = 0; waited < next; waited += 5) {
      if ([...acknowledged].some((text) => received.has(text))) return;
      await sleep(5);
    }
  }
  throw new Error(
    `${when}, nothing that it published was both acknowledged (${acknowledged.size}) and received (${received.size}): ` +
      `${stan.state} at ${stan.server}, ${stan.stats().losses} losses, refused: ${refused[0] ?? 'nothing'}, ` +
      `last error: ${stan.health().lastError?.error.message}`,
  );
}

/** What may be refused a few times. */
async function eventually<T>(what: string, attempt: (left: number) => Promise<T>): Promise<T> {
  const deadline = performance.now() + PATIENCE;
  for (;;) {
    const left = deadline - performance.now();
    try {
      return await attempt(Math.max(1, Math.ceil(left)));
    } catch (error) {
      await sleep(5);
      if (performance.now() < deadline) continue;
      throw new Error(`it never ${what}: ${String(error)}`, { cause: error });
    }
  }
}
