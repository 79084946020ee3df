/** `resilient-stan migrate cut` */
import { cut, type CutProgress, type CutReport, type Straggler } from '../../migrate/index.js';
import { formatDuration, plural } from '../../testing/report/format.js';
import { defineCommand, type Options } from '../command.js';
import { say } from '../say.js';
import { table } from '../table.js';
import { tableWidth } from '../text.js';
import { lengthOfTime } from '../values.js';
import { limitsText } from './limits.js';
import { MIGRATE_OPTIONS, readMigrate } from './options.js';
import { JSON_OPTION, runStep, STEP_EXIT_CODES } from './step.js';

const OPTIONS = {
  follow: { type: 'boolean', help: 'go on appending what still reaches STAN until Ctrl-C' },
  quiet: { type: 'string', value: '<time>', help: 'end when STAN was silent for so long, as 30s (default 10s)' },
  json: JSON_OPTION,
  ...MIGRATE_OPTIONS,
} as const satisfies Options;

export const migrateCutCommand = defineCommand({
  name: 'migrate cut',
  summary: 'open the streams for native publishers, and append what still reaches STAN',
  about: [
    'Stop the publishers of STAN, run this, and start the new publishers. It copies what is missing, and opens each stream: the first ' +
      'native message has the number after the last one of STAN. What reaches STAN later is appended in its order, with its number ' +
      'in the header Stan-Sequence, and reported. The stream has the limits of its channel then; that of bytes is larger by what ' +
      'the headers of the copied messages take.',
    'In place, the fence is in the configuration of the servers: it says what to change, waits for that, and goes on copying ' +
      'meanwhile. It may be run again: nothing is appended twice.',
  ],
  options: OPTIONS,
  examples: [
    { command: 'resilient-stan migrate cut', what: 'all channels; ends when STAN was silent for 10 s' },
    { command: 'resilient-stan migrate cut --channels orders --follow', what: 'one, and stragglers until Ctrl-C' },
  ],
  exitCodes: { ...STEP_EXIT_CODES, 0: 'all streams are open, and all that has reached STAN is in them' },
  async run(values) {
    const options = await readMigrate(values);
    const quiet = values.quiet === undefined ? undefined : lengthOfTime('quiet', values.quiet);
    const told = new Told();
    return await runStep(
      (signal) =>
        cut({
          ...options,
          ...signal,
          follow: values.follow === true,
          ...(quiet !== undefined && { quiet }),
          onProgress: (progress) => told.tell(progress),
        }),
      (report) => cutLines(report, tableWidth(process.stdout)),
      values.json === true,
    );
  },
});

/** Tells on stderr what is new. */
class Told {
  #phase = '';
  #todo: string | undefined;
  #stragglers = 0;

  tell({ phase, todo, stragglers }: CutProgress): void {
    if (phase !== this.#phase && phase !== 'waiting') say(SAYINGS[phase]);
    this.#phase = phase;
    if (todo !== this.#todo && todo !== undefined) say(`to do now, and it goes on by itself:\n${todo}`);
    this.#todo = todo;
    if (stragglers > this.#stragglers) say(`${plural(stragglers, 'straggler')} appended`);
    this.#stragglers = stragglers;
  }
}

const SAYINGS = {
  copying: 'copying what is missing',
  stragglers: 'open for native publishers; appending what still reaches STAN',
} as const;

/** The report for people. Pure. */
export function cutLines({ channels }: CutReport, width: number): string[] {
  const right = true;
  if (channels.length === 0) return ['There are no channels.'];
  return [
    ...table(
      [
        { head: 'channel' },
        { head: 'stream' },
        { head: 'state' },
        { head: 'cut at', right },
        { head: 'stragglers', right },
        { head: 'limits' },
      ],
      channels.map((each) => [
        each.channel,
        each.stream,
        each.state,
        String(each.cutAt),
        String(each.stragglers.length),
        limitsText(each.limits),
      ]),
      width,
    ),
    ...channels.flatMap(({ channel, stream, inactivity }) =>
      inactivity === undefined
        ? []
        : [
            `STAN deletes channel '${channel}' after ${formatDuration(inactivity)} without use, and JetStream keeps a stream: ` +
              `nats stream rm ${stream}, when it is of no more use`,
          ],
    ),
    ...channels.flatMap(({ channel, stragglers }) => lateLines(channel, stragglers)),
  ];
}

/** One line for each row of messages that lie behind each other on both sides. */
function lateLines(channel: string, stragglers: readonly Straggler[]): string[] {
  const rows: { first: Straggler; count: number }[] = [];
  for (const each of stragglers) {
    const row = rows.at(-1);
    const { inStan = 0, sequence = 0 } = row?.first ?? {};
    const count = row?.count ?? 0;
    if (row !== undefined && each.inStan === inStan + count && each.sequence === sequence + count) row.count++;
    else rows.push({ first: each, count: 1 });
  }
  return rows.map(({ first: { inStan, sequence }, count }) =>
    count === 1
      ? `message ${inStan} of channel '${channel}' came late: it is message ${sequence}`
      : `messages ${inStan} to ${inStan + count - 1} of channel '${channel}' came late: they are messages ${sequence} to ${sequence + count - 1}`,
  );
}
