/**
 * The game: messages go round a cluster, and each that comes back is a dot. Kill a node, and watch.
 *
 *     npm run example
 *     npm run example -- --monkey --seconds 30
 *     npm run example -- nats://localhost:4221,nats://localhost:4222,nats://localhost:4223
 *
 * The exit code is 0 only if nothing was lost.
 */
import { randomBytes } from 'node:crypto';
import { ResilientStan } from 'resilient-stan';
import { between, Board } from './game/board.js';
import { readCommandLine, USAGE, UsageError, type Game } from './game/command-line.js';
import { Row } from './game/row.js';
import { Tally, type Result } from './game/tally.js';

const CHANNEL = 'foo';
/** Time between two messages, in ms. */
const EVERY = 100;
/** How long messages under way may take to arrive at the end, in ms. */
const PATIENCE = 10_000;

async function play(game: Game, end: AbortSignal): Promise<number> {
  const begin = performance.now();
  const row = new Row(process.stdout, () => performance.now() - begin);
  const own = game.servers.length > 0;
  if (!own) row.line('Booting a cluster of three servers …', 'dim');
  const board = own ? undefined : await Board.boot(game.clusterId, row);
  try {
    return await publish(game, end, row, board);
  } finally {
    await board?.cluster.stop();
  }
}

async function publish(game: Game, end: AbortSignal, row: Row, board: Board | undefined): Promise<number> {
  const run = randomBytes(4).toString('hex');
  const stan = await ResilientStan.connect(board?.cluster.urls ?? game.servers, {
    clusterId: game.clusterId,
    clientId: `publisher-${run}`,
    pings: { interval: 1000, maxOut: 3 },
  });
  const over = new AbortController();
  stan.on('connection_lost', () => row.word('lost', 'bad'));
  stan.on('reconnect', () => row.word('back', 'good'));
  stan.on('error', ({ error }) => row.line(error.message, 'bad'));
  stan.on('close', () => over.abort());

  const tally = new Tally(run);
  await stan.subscribe(CHANNEL, (message) => {
    if (tally.received(message.string(), performance.now())) row.dot();
  });

  row.line(`Connected to ${stan.server}. One dot for each message that comes back; Ctrl-C ends it.`);
  if (board) {
    if (!game.monkey) row.line('Kill nodes from another terminal: one, two, all. Each comes back after 5 seconds.');
    await board.watch(() => stan.server, game.monkey ? () => between(500, 3000) : undefined);
    if (game.monkey) board.unleashMonkey();
  }

  const timer = setInterval(() => {
    const { value, number } = tally.next(performance.now());
    stan.publish(CHANNEL, value).then(
      () => tally.acknowledged(number),
      () => {}, // close() gave it up, so the tally counts it as open
    );
  }, EVERY);
  await aborted(AbortSignal.any([end, over.signal]), game.seconds);
  clearInterval(timer);

  // Nothing more is published. What is under way arrives, and is counted.
  await board?.end();
  const deadline = performance.now() + PATIENCE;
  const waiting = setTimeout(() => {
    row.line(`Waiting up to ${PATIENCE / 1000} seconds for what is under way; Ctrl-C gives it up.`, 'dim');
  }, 500);
  await stan.flush({ timeout: PATIENCE }).catch(() => {});
  while (!tally.complete && performance.now() < deadline && !over.signal.aborted) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  clearTimeout(waiting);
  const result = tally.result(performance.now());
  const { losses } = stan.stats();
  await stan.close({ timeout: 1000 });
  report(row, result, losses, await stan.closed());
  return result.lost === 0 && result.open === 0 ? 0 : 1;
}

/** Resolves at the signal, or when the seconds are over. */
async function aborted(signal: AbortSignal, seconds: number | undefined): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const timer = seconds === undefined ? undefined : setTimeout(resolve, seconds * 1000);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function report(row: Row, result: Result, losses: number, reason: Error | undefined): void {
  const { published, acknowledged, received, lost, open, duplicates, longestPause } = result;
  const figures: [string, string | number][] = [
    ['published', published],
    ['acknowledged', acknowledged],
    ['received', received],
    ['lost', lost],
    ['duplicates', duplicates],
    ['losses survived', losses],
    ['longest pause', `${Math.round(longestPause)} ms`],
  ];
  row.line('');
  for (const [name, figure] of figures) row.line(`${name.padEnd(16)}${String(figure).padStart(8)}`);
  row.line('');
  if (reason) row.line(`The client ended: ${reason.message}`, 'bad');
  if (lost > 0) row.line(`${lost} acknowledged messages never came back.`, 'bad');
  if (open > 0) row.line(`${open} messages were not acknowledged when the game ended.`, 'bad');
  if (lost === 0 && open === 0) row.line('Nothing was lost.', 'good');
}

/** Handles Ctrl-C. The first one ends the game, the second one the process. */
function untilInterrupted(): AbortSignal {
  const end = new AbortController();
  let first = Infinity;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      // Through npm one Ctrl-C comes twice: from the terminal, and from npm. The harness leaves no server behind.
      if (performance.now() - first > 300) process.exit(130);
      first = Math.min(first, performance.now());
      end.abort();
    });
  }
  // The reader has ended, as in `npm run example | head`.
  process.stdout.on('error', () => end.abort());
  return end.signal;
}

try {
  const game = readCommandLine(process.argv.slice(2), process.env);
  if (game.help) process.stdout.write(USAGE);
  else process.exitCode = await play(game, untilInterrupted());
} catch (error) {
  console.error((error as Error).message);
  if (error instanceof UsageError) console.error('All options: npm run example -- --help');
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
