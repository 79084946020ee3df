/** `resilient-stan migrate plan` */
import { plan, planInPlace, type InPlaceReport, type InPlaceServer, type PlanReport } from '../../migrate/index.js';
import { formatBytes, plural } from '../../testing/report/format.js';
import { defineCommand, type Options } from '../command.js';
import { table } from '../table.js';
import { marked, tableWidth } from '../text.js';
import { wholeNumber } from '../values.js';
import { durableTable } from './durable-table.js';
import { limitsText } from './limits.js';
import { MIGRATE_OPTIONS, readMigrate } from './options.js';
import { JSON_OPTION, runStep, STEP_EXIT_CODES } from './step.js';

const OPTIONS = {
  replicas: {
    type: 'string',
    value: '<n>',
    help: 'on how many servers each stream is kept (default: 3 in a cluster of 2.10 or later, else 1)',
  },
  quick: { type: 'boolean', help: 'do not read channels to find messages that are too large for the target' },
  'in-place': {
    type: 'boolean',
    help: 'say instead which lines to add to which configuration file, so that the streaming servers have JetStream',
  },
  json: JSON_OPTION,
  ...MIGRATE_OPTIONS,
} as const satisfies Options;

export const migratePlanCommand = defineCommand({
  name: 'migrate plan',
  summary: 'say what a move to JetStream would do, and what is in its way; write nothing',
  about: [
    'For each channel: its messages and limits, the stream that it becomes, and its durables with their positions. Then what is ' +
      'in the way: names that collide, subjects that are bound, messages that are too large, streams with foreign content, a ' +
      'monitoring that contradicts itself, and a STAN that began anew after an earlier copy.',
  ],
  options: OPTIONS,
  examples: [
    { command: 'resilient-stan migrate plan --from nats://a:4222', what: 'in place: JetStream is in the same servers' },
    { command: 'resilient-stan migrate plan --in-place', what: 'what the configuration of each server needs for that' },
    { command: 'resilient-stan migrate plan --to nats://new:4222 --json', what: 'to other servers, for a program' },
  ],
  exitCodes: STEP_EXIT_CODES,
  async run(values) {
    const options = await readMigrate(values);
    const replicas = wholeNumber('replicas', values.replicas, { min: 1, max: 5 });
    if (values['in-place'] === true) {
      return await runStep(
        (signal) => planInPlace({ ...options, ...signal }),
        (report) => inPlaceLines(report, tableWidth(process.stdout)),
        values.json === true,
      );
    }
    return await runStep(
      async (signal, view) => {
        return await plan({
          ...options,
          ...signal,
          replicas,
          readPayloads: values.quick !== true,
          onProgress: ({ channel, read, of }) => view.show({ done: read, total: of, note: `reading ${channel}` }),
        });
      },
      (report) => planLines(report, tableWidth(process.stdout)),
      values.json === true,
    );
  },
});

/** The plan of a move in place, for people. Pure. */
export function inPlaceLines({ servers, afterwards }: InPlaceReport, width: number): string[] {
  const text = Math.min(width, 100);
  return [
    ...servers.flatMap((server) => [
      `${serverText(server)}: ${stateText(server)}`,
      ...server.add.flatMap(({ what, where, lines, needs }) => [
        // What is pasted has to be a comment to its last word.
        ...marked('# ', what, text, 2, '# '),
        ...marked('# ', where, text, 2, '# '),
        `  # needs a ${needs}`,
        ...lines.map((line) => `  ${line}`),
        '',
      ]),
    ]),
    'Then:',
    ...afterwards.flatMap((each, i) => marked(`${i + 1}. `, each, text, 2)),
  ];
}

function serverText({ name, monitor, version, account }: InPlaceServer): string {
  return `server ${name} (${monitor}, NATS ${version}${account === '$G' ? '' : `, account ${account}`})`;
}

function stateText({ add, jetstream, fenced }: InPlaceServer): string {
  if (add.length > 0) return 'add to the file it was started with';
  return jetstream && fenced ? 'ready' : 'not ready, and no line of its file can change that';
}

/** The plan for people. Pure. */
export function planLines({ source, target, channels }: PlanReport, width: number): string[] {
  const right = true;
  const where = target.inPlace ? 'in the same servers' : 'on other servers';
  const text = Math.min(width, 100);
  const durables = channels.flatMap(({ channel, durables }) => durables.map((each) => ({ channel, ...each })));
  return [
    `STAN ${source.version}, cluster '${source.clusterId}' → JetStream ${target.version}, ${where}, ${plural(target.replicas, 'replica')}`,
    ...target.consequences.flatMap((line) => marked('- ', line, text, 2)),
    '',
    ...(channels.length === 0 ? ['There are no channels.'] : []),
    ...(channels.length === 0
      ? []
      : table(
          [
            { head: 'channel' },
            { head: 'stream' },
            { head: 'messages', right },
            { head: 'bytes', right },
            { head: 'first', right },
            { head: 'last', right },
            { head: 'copied', right },
            { head: 'limits' },
          ],
          channels.map((each) => [
            each.channel,
            each.stream,
            String(each.messages),
            formatBytes(each.bytes),
            each.messages === 0 ? '–' : String(each.first),
            String(each.last),
            String(each.copied),
            limitsText(each.limits),
          ]),
          width,
        )),
    ...(durables.length === 0
      ? []
      : [
          '',
          ...durableTable(
            durables,
            'state',
            (each) => (each.online ? `online: ${each.clients.join(', ')}` : 'offline'),
            width,
          ),
        ]),
    '',
  ];
}
