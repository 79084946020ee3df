/** `resilient-stan migrate rehearse`: the whole move on one's own machine, by one command. */
import { rehearseMigration, type RehearsalReport } from '../../testing/index.js';
import { formatCount, plural } from '../../testing/report/format.js';
import { defineCommand, type Options } from '../command.js';
import { table } from '../table.js';
import { columnsOf, tableWidth, wrap } from '../text.js';
import { wholeNumber } from '../values.js';
import { JSON_OPTION, runStep, STEP_EXIT_CODES } from './step.js';

const OPTIONS = {
  apart: {
    type: 'boolean',
    help: 'move to servers of their own (default: in place, on the ports of the STAN servers)',
  },
  nodes: { type: 'string', value: '<n>', help: 'how many servers on each side: 1, or 3 and more (default 3)' },
  release: {
    type: 'string',
    value: '<version>',
    help: 'the version of nats-server, 2.10 or later, as 2.12.15 (default 2.15.2)',
  },
  time: {
    type: 'string',
    value: '<seconds>',
    help: 'how long the system works while the copy follows, and after the move (default 10)',
  },
  rate: { type: 'string', value: '<n>', help: 'how many messages are published in a second (default 100)' },
  'no-faults': { type: 'boolean', help: 'kill and freeze no servers' },
  seed: {
    type: 'string',
    value: '<n>',
    help: 'the seed of the faults: the same faults in the same order (default: another one each time)',
  },
  json: JSON_OPTION,
} as const satisfies Options;

export const migrateRehearseCommand = defineCommand({
  name: 'migrate rehearse',
  summary: 'the whole move on this machine: boots servers and a small system, moves it, and judges',
  about: [
    'It boots a STAN cluster, lets two publishers, a group of two workers, a durable reader and a plain reader work with it, and does ' +
      'with them what docs/leaving.md tells a team to do. It tells each step with its command: in place the lines for the files of ' +
      'the servers, restarts and reloads; a copy that follows; one reader after the other; then the publishers and the cut; and in ' +
      'place, plain servers in the places of the STAN servers. Before and after the move servers are killed and frozen.',
    'What was published has to reach everybody, in order, over the cut, and nothing may be stored twice by the move. How long ' +
      'publishers and readers stood still is told. Steps go to stderr, the report to stdout. Nothing of it is left at the end, ' +
      'nor after Ctrl-C. It needs a POSIX system, and a nats-server, which is built if need be.',
  ],
  options: OPTIONS,
  examples: [
    { command: 'resilient-stan migrate rehearse', what: 'in place, three servers, with faults' },
    {
      command: 'resilient-stan migrate rehearse --apart --release 2.12.15 --no-faults',
      what: 'to servers of their own',
    },
  ],
  exitCodes: { ...STEP_EXIT_CODES, 0: 'nothing was lost, and both sides are the same' },
  async run(values) {
    const nodes = wholeNumber('nodes', values.nodes, { min: 1 });
    const seconds = wholeNumber('time', values.time, { min: 1 });
    const rate = wholeNumber('rate', values.rate, { min: 1 });
    const seed = wholeNumber('seed', values.seed, { min: 0 });
    return await runStep(
      ({ signal }) =>
        rehearseMigration({
          inPlace: values.apart !== true,
          nodes,
          version: values.release,
          time: seconds === undefined ? undefined : seconds * 1000,
          rate,
          seed,
          faults: values['no-faults'] !== true,
          onEvent: tell,
          signal,
        }),
      (report) => rehearsalLines(report, tableWidth(process.stdout)),
      values.json === true,
    );
  },
});

/** How far a line is broken to the right in a terminal: below its text, and not below its time. */
const HANG = 12;

/** Tells a step. In a terminal a long line is broken between words; names and URLs stay whole, so that they can be copied. */
function tell(line: string): void {
  const { stderr } = process;
  console.error((stderr.isTTY ? wrap(line, columnsOf(stderr), HANG, 'whole') : [line]).join('\n'));
}

/** The report for people. Pure. */
export function rehearsalLines(report: RehearsalReport, width: number): string[] {
  const { ok, inPlace, versions, seed, fence, compared, cutAt, stragglers, pauses, doubledInStan, faults, verdict } =
    report;
  const right = true;
  const where = inPlace ? 'in place' : 'to other servers';
  const text = Math.min(width, 100);
  const still = (ms: number | undefined): string => (Number.isNaN(ms ?? NaN) ? 'for good' : `${ms} ms`);
  return [
    `STAN ${versions.stan} to nats-server ${versions.jetstream}, ${where}, with ${plural(faults.length, 'fault')}; seed ${seed}`,
    `Native publishers were kept out until the cut by ${fence === 'mappings' ? "mappings in the servers' files" : 'the stream itself'}.`,
    `${plural(compared, 'message')} of STAN compared on both sides; cut after ${cutAt}; ${plural(stragglers, 'straggler')}.`,
    ...(doubledInStan === 0
      ? []
      : [
          `${plural(doubledInStan, 'message')} had two numbers in STAN already, because a publisher had to send again in a fault: copied so.`,
        ]),
    `The publishers stood still for ${still(pauses.publishers)}, and each reader for its own move:`,
    ...table(
      [
        { head: 'reader' },
        { head: 'kind' },
        { head: 'stood still', right },
        { head: 'messages', right },
        { head: 'lost', right },
        { head: 'handled again', right },
      ],
      verdict.subscriptions.map(({ name, kind, received, lost, repeated }) => [
        name,
        kind,
        still(pauses.consumers[name]),
        formatCount(received),
        String(lost.total),
        String(repeated),
      ]),
      width,
    ),
    ok ? 'Nothing was lost, doubled or shifted.' : 'It did not go well:',
  ].flatMap((line) => (line.startsWith(' ') ? [line] : wrap(line, text)));
}
