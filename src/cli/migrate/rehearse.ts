/** `resilient-stan migrate rehearse`: the whole move on one's own machine, by one command. */
import { rehearseMigration, type RehearsalReport } from '../../testing/index.js';
import { plural } from '../../testing/report/format.js';
import { defineCommand, type Options } from '../command.js';
import { say } from '../say.js';
import { wholeNumber } from '../values.js';
import { JSON_OPTION, runStep, STEP_EXIT_CODES } from './step.js';

const OPTIONS = {
  apart: {
    type: 'boolean',
    help: 'move to servers of their own (default: in place, on the ports of the STAN servers)',
  },
  nodes: { type: 'string', value: '<n>', help: 'how many servers on each side: 1, or 3 and more (default 3)' },
  release: { type: 'string', value: '<version>', help: 'the version of nats-server, as 2.12.15 (default 2.15.2)' },
  time: {
    type: 'string',
    value: '<seconds>',
    help: 'how long the system works before the move, and after it (default 10)',
  },
  rate: { type: 'string', value: '<n>', help: 'how many messages are published in a second (default 100)' },
  'no-faults': { type: 'boolean', help: 'kill and freeze no servers' },
  seed: { type: 'string', value: '<n>', help: 'the seed of the faults (default: another one each time)' },
  json: JSON_OPTION,
} as const satisfies Options;

export const migrateRehearseCommand = defineCommand({
  name: 'migrate rehearse',
  summary: 'the whole move on this machine: boots servers and a small system, moves it, and judges',
  about: [
    'It boots a STAN cluster, lets two publishers, a group of two workers, a durable reader and a plain reader work with it, copies ' +
      'while they work, hands the durables over, cuts, and lets them go on with JetStream. In place, plain servers then take the ' +
      'places of the STAN servers, one after the other. Meanwhile servers are killed and frozen.',
    'What was published has to reach everybody, in order, over the cut. How long publishers and consumers stood still is told. ' +
      'Nothing of it is left at the end. It needs a POSIX system, and a nats-server, which is built if need be.',
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
          onEvent: say,
          signal,
        }),
      rehearsalLines,
      values.json === true,
    );
  },
});

/** The report for people. Pure. */
export function rehearsalLines({
  ok,
  inPlace,
  versions,
  seed,
  compared,
  cutAt,
  stragglers,
  pauses,
  faults,
  verdict,
}: RehearsalReport): string[] {
  const again = verdict.subscriptions.some(({ repeated }) => repeated > 0);
  const consumers = Object.entries(pauses.consumers).map(([name, ms]) => `${name} ${ms} ms`);
  return [
    `STAN ${versions.stan} to nats-server ${versions.jetstream}, ${inPlace ? 'in place' : 'to other servers'}, ` +
      `${plural(faults.length, 'fault')} (seed ${seed})`,
    `${plural(compared, 'message')} compared on both sides; cut after ${cutAt}; ${plural(stragglers, 'straggler')}`,
    `the publishers stood still for ${pauses.publishers} ms, the consumers: ${consumers.join(', ')}`,
    ...verdict.subscriptions.map(
      ({ name, kind, received, lost, repeated }) =>
        `${name} (${kind}): ${plural(received, 'message')}, ${lost.total} lost, ${repeated} came again`,
    ),
    ok ? `Nothing was lost or shifted${again ? '' : ', and nothing came twice'}.` : 'It did not go well: see above.',
  ];
}
