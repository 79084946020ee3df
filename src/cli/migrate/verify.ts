/** `resilient-stan migrate verify` */
import { verify, type VerifyCopyReport } from '../../migrate/index.js';
import { formatDuration, plural } from '../../testing/report/format.js';
import { defineCommand, type Options } from '../command.js';
import { table } from '../table.js';
import { tableWidth } from '../text.js';
import { MIGRATE_OPTIONS, readMigrate } from './options.js';
import { JSON_OPTION, runStep, STEP_EXIT_CODES } from './step.js';

const OPTIONS = { json: JSON_OPTION, ...MIGRATE_OPTIONS } as const satisfies Options;

export const migrateVerifyCommand = defineCommand({
  name: 'migrate verify',
  summary: 'compare every message of STAN with its copy: number, bytes and time',
  about: [
    'It reads both sides, each through its own client, and writes nothing. It may run while a copy follows, and after the cut. The ' +
      'digest is SHA-256 over number, time and bytes of each message. Where there are any, it counts as well: messages that have come ' +
      'late, from STAN behind the cut; native ones; and those that only JetStream still has, because STAN has dropped them.',
  ],
  options: OPTIONS,
  examples: [{ command: 'resilient-stan migrate verify --to nats://new:4222', what: 'all channels' }],
  exitCodes: { ...STEP_EXIT_CODES, 0: 'both sides are the same' },
  async run(values) {
    const options = await readMigrate(values);
    return await runStep(
      async (signal, view) => {
        return await verify({
          ...options,
          ...signal,
          onProgress: ({ messages, messagesDone }) => view.show({ done: messagesDone, total: messages }),
        });
      },
      (report) => verifyLines(report, tableWidth(process.stdout)),
      values.json === true,
    );
  },
});

/** Counts that a channel has besides, and what they are called. */
const COUNTS = [
  { of: 'stragglers', head: 'late' },
  { of: 'native', head: 'native' },
  { of: 'onlyInJetStream', head: 'only in JetStream' },
] as const;

/** The report for people. Pure. */
export function verifyLines({ channels, compared, duration }: VerifyCopyReport, width: number): string[] {
  const right = true;
  const digest = (text: string): string => text.slice(0, 12);
  // What only some moves have is shown where there is any of it.
  const counts = COUNTS.filter(({ of }) => channels.some((each) => each[of] > 0));
  return [
    ...(channels.length === 0
      ? ['There are no channels.']
      : table(
          [
            { head: 'channel' },
            { head: 'stream' },
            { head: 'first', right },
            { head: 'last', right },
            { head: 'compared', right },
            { head: 'different', right },
            ...counts.map(({ head }) => ({ head, right })),
            { head: 'digest' },
          ],
          channels.map((each) => [
            each.channel,
            each.stream,
            String(each.first),
            String(each.last),
            String(each.compared),
            String(each.different),
            ...counts.map(({ of }) => String(each[of])),
            each.stanDigest === each.jetStreamDigest
              ? digest(each.stanDigest)
              : `${digest(each.stanDigest)} ≠ ${digest(each.jetStreamDigest)}`,
          ]),
          width,
        )),
    '',
    `${plural(compared, 'message')} compared in ${formatDuration(duration)}`,
  ];
}
