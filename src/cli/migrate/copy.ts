/** `resilient-stan migrate copy` */
import { copy, type CopyProgress, type CopyReport } from '../../migrate/index.js';
import { formatBytes, formatCount, formatDuration, plural } from '../../testing/report/format.js';
import { defineCommand, type Options } from '../command.js';
import { table } from '../table.js';
import { tableWidth } from '../text.js';
import { wholeNumber } from '../values.js';
import { MIGRATE_OPTIONS, readMigrate } from './options.js';
import { JSON_OPTION, runStep, STEP_EXIT_CODES } from './step.js';

const OPTIONS = {
  follow: { type: 'boolean', help: 'go on with what is published, and with channels that come, until Ctrl-C' },
  replicas: {
    type: 'string',
    value: '<n>',
    help: 'on how many servers each stream is kept (default: 3 in a cluster of 2.10 or later, else 1)',
  },
  concurrency: { type: 'string', value: '<n>', help: 'how many channels are copied at a time (default 4)' },
  json: JSON_OPTION,
  ...MIGRATE_OPTIONS,
} as const satisfies Options;

export const migrateCopyCommand = defineCommand({
  name: 'migrate copy',
  summary: 'copy channels into JetStream streams, each message under its own number',
  about: [
    'It may be killed anywhere and run again: the stream itself says what it has, and the copy goes on behind that. Two at a time ' +
      'do no harm. A message that somebody else has put into a stream stops the copy of that channel exactly there.',
    'With --follow it mirrors what is published, and shows how far it is behind. Ctrl-C ends it in good order.',
  ],
  options: OPTIONS,
  examples: [
    { command: 'resilient-stan migrate copy', what: 'all channels, in place' },
    { command: "resilient-stan migrate copy --channels 'orders,eu.>' --follow", what: 'some of them, until Ctrl-C' },
  ],
  exitCodes: {
    ...STEP_EXIT_CODES,
    0: 'all that was there is copied; with --follow, all up to the end is mirrored',
  },
  async run(values) {
    const options = await readMigrate(values);
    const replicas = wholeNumber('replicas', values.replicas, { min: 1, max: 5 });
    const concurrency = wholeNumber('concurrency', values.concurrency, { min: 1, max: 100 });
    const follow = values.follow === true;
    return await runStep(
      async (signal, view) => {
        const told = new News((line) => view.say(line));
        return await copy({
          ...options,
          ...signal,
          follow,
          replicas,
          concurrency,
          onProgress: (progress) => {
            told.tell(progress);
            view.show({
              done: progress.messagesDone,
              total: progress.messages,
              ...(follow && { note: `lag ${formatCount(progress.lag)}` }),
            });
          },
        });
      },
      (report) => copyLines(report, tableWidth(process.stdout)),
      values.json === true,
    );
  },
});

/** Tells once why nothing goes on, and once that it does again; and of a copy that may go on for days, what has ended a channel. */
class News {
  readonly #say: (line: string) => void;
  #reasons = '';
  readonly #told = new Set<string>();

  constructor(say: (line: string) => void) {
    this.#say = say;
  }

  tell({ waiting, problems, following }: CopyProgress): void {
    for (const { message } of following ? problems : []) {
      if (!this.#told.has(message)) this.#say(`✗ ${message}`);
      this.#told.add(message);
    }
    const reasons = [...new Set(waiting.map(({ reason }) => reason))].join('; ');
    if (reasons !== '' && this.#reasons === '') this.#say(`waiting: ${reasons}`);
    if (reasons === '' && this.#reasons !== '') this.#say('it goes on');
    this.#reasons = reasons;
  }
}

/** The report for people. Pure. */
export function copyLines({ channels, copied, copiedBytes, duration }: CopyReport, width: number): string[] {
  const right = true;
  const rate = duration === 0 ? 0 : (copied / duration) * 1000;
  return [
    ...(channels.length === 0
      ? ['There are no channels.']
      : table(
          [
            { head: 'channel' },
            { head: 'stream' },
            { head: 'first', right },
            { head: 'last', right },
            { head: 'copied', right },
            { head: 'lag', right },
            { head: 'fence' },
          ],
          channels.map((each) => [
            each.channel,
            each.stream,
            String(each.first),
            String(each.last),
            String(each.copied),
            String(each.lag),
            each.fenced ? 'yes' : 'no',
          ]),
          width,
        )),
    ...channels
      .filter(({ cut }) => cut)
      .map(({ channel }) => `channel '${channel}' is cut: 'migrate cut' appends what still reaches STAN`),
    '',
    `${plural(copied, 'message')} (${formatBytes(copiedBytes)}) in ${formatDuration(duration)}, ${formatCount(rate)} a second`,
  ];
}
