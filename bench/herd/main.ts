/**
 * `npm run bench:herd`: a client with many subscriptions loses its connection. How long until they are back, what does
 * the server have to do for it, and what does another client feel of it? See docs/performance.md.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { connect } from 'nats';
import { Proxy, StanCluster } from '../../src/testing/index.js';
import { columns, progressLine } from '../report.js';
import { quantile } from '../statistics.js';
import { Worker } from '../worker-process.js';
import { NEIGHBOUR, now, type Answer, type Command, type Kind } from './protocol.js';

const USAGE = `npm run bench:herd -- [options]
  --server KIND     single or cluster (default: both), file store
  --case CASE       repeatable, durable|plain:subscriptions:channels
                    (default plain:1000:1000, durable:1000:1000, durable:4000:4000, durable:1000:1)
  --resets N        of each (default 3)`;

const { values } = parseArgs({
  options: {
    server: { type: 'string' },
    case: {
      type: 'string',
      multiple: true,
      default: ['plain:1000:1000', 'durable:1000:1000', 'durable:4000:4000', 'durable:1000:1'],
    },
    resets: { type: 'string', default: '3' },
    help: { type: 'boolean', default: false },
  },
});

/** How long the client must not ask for anything to be done with the loss, in ms. */
const QUIET = 5000;
const MOST_WATCHED = 300_000;

interface Case {
  kind: Kind;
  count: number;
  channels: number;
}

interface Reset {
  /** Time until all are back, and until the last request, in ms. */
  back: number;
  done: number;
  subscribes: number;
  closes: number;
  /** How long the neighbour's requests took, in ms: until all were back, and after that. */
  during: number[];
  after: number[];
  neighboursLosses: number;
}

/** Counts what the server is asked for, without the neighbour's requests. */
class Spy {
  subscribes = 0;
  closes = 0;
  lastAt = -Infinity;
  readonly #nats: ReturnType<typeof connect>;

  constructor(url: string) {
    this.#nats = connect({ url, encoding: 'binary' });
    const on = (subject: string, count: () => void): void => {
      this.#nats.subscribe(subject, (request: string) => {
        if (request.includes(NEIGHBOUR)) return;
        this.lastAt = now();
        count();
      });
    };
    on('_STAN.sub.>', () => this.subscribes++);
    on('_STAN.subclose.>', () => this.closes++);
    on('_STAN.unsub.>', () => this.closes++);
  }

  reset(): void {
    this.subscribes = this.closes = 0;
    this.lastAt = now();
  }

  close(): void {
    this.#nats.close();
  }
}

async function run(
  server: string,
  { kind, count, channels }: Case,
  progress: (what: string) => void,
): Promise<Reset[]> {
  const limits = { max_channels: 0, max_subs: 0 };
  const config = { streaming: { store_limits: limits } };
  await using cluster =
    server === 'cluster'
      ? await StanCluster.start({ nodes: 3, config })
      : await StanCluster.start({ mode: 'single', store: 'file', config });
  const { clusterId, urls } = cluster;
  const proxy = await Proxy.listen({ target: { port: Number(new URL(urls[0]!).port) } });
  const spy = new Spy(urls.at(-1)!);
  const herd = new Worker<Command, Answer>('./herd/worker.js', 'herd');
  const neighbour = new Worker<Command, Answer>('./herd/worker.js', 'neighbour');
  const resets: Reset[] = [];
  try {
    progress('filling');
    await herd.ask({ do: 'fill', url: `nats://127.0.0.1:${proxy.port}`, clusterId, kind, count, channels });
    await neighbour.ask({ do: 'live', url: urls.at(-1)!, clusterId });
    for (let n = 0; n < Number(values.resets); n++) {
      progress(`reset ${n + 1}`);
      // What a cluster knows of what was acknowledged reaches its followers within a second or two.
      await sleep(3000);
      await neighbour.ask({ do: 'latencies' });
      spy.reset();
      const at = now();
      await proxy.down({ connections: 'reset' });
      await proxy.up();
      const back = await herd.ask({ do: 'back' });
      const during = await neighbour.ask({ do: 'latencies' });
      while (now() - Math.max(spy.lastAt, back.at!) < QUIET && now() - at < MOST_WATCHED) await sleep(100);
      const after = await neighbour.ask({ do: 'latencies' });
      resets.push({
        back: back.at! - at,
        done: spy.lastAt - at,
        subscribes: spy.subscribes,
        closes: spy.closes,
        during: during.latencies!,
        after: after.latencies!,
        neighboursLosses: after.losses!,
      });
    }
  } finally {
    await Promise.all([herd.end(), neighbour.end()]);
    spy.close();
    await proxy.down({ connections: 'reset' });
  }
  return resets;
}

function parseCase(text: string): Case {
  const [kind, count, channels] = text.split(':');
  return { kind: kind as Kind, count: Number(count), channels: Number(channels) };
}

const figures = (all: readonly number[], parts: readonly number[]): string =>
  parts.map((part) => quantile(all, part).toFixed(0)).join(' / ');

async function main(): Promise<void> {
  const progress = progressLine(process.stderr);
  const rows: string[][] = [];
  for (const server of values.server === undefined ? ['single', 'cluster'] : [values.server]) {
    for (const text of values.case) {
      const one = parseCase(text);
      const name = `${one.count} ${one.kind} on ${one.channels} ${one.channels === 1 ? 'channel' : 'channels'}, ${server}`;
      const resets = await run(server, one, (what) => progress(name, what));
      const all = (of: (reset: Reset) => number): number[] => resets.map(of);
      rows.push([
        name,
        figures(
          all((reset) => reset.back),
          [0.5, 1],
        ),
        figures(
          all((reset) => reset.done),
          [0.5, 1],
        ),
        figures(
          all((reset) => reset.subscribes),
          [0.5],
        ),
        figures(
          all((reset) => reset.closes),
          [0.5],
        ),
        figures(
          resets.flatMap((reset) => reset.during),
          [0.5, 0.95, 1],
        ),
        figures(
          resets.flatMap((reset) => reset.after),
          [0.5, 0.95, 1],
        ),
        String(resets.at(-1)?.neighboursLosses),
      ]);
    }
  }
  progress('');
  const header = ['ms', 'all back p50 / max', 'last request p50 / max', 'subscribes', 'closes'];
  header.push("neighbour's subscribe() until back p50 / p95 / max", 'from then on p50 / p95 / max', 'its losses');
  console.log(columns([header, ...rows]).join('\n'));
}

if (values.help) console.log(USAGE);
else await main();
