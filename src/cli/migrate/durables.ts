/** `resilient-stan migrate durables` */
import { durables, type DurablesReport } from '../../migrate/index.js';
import { defineCommand, type Options } from '../command.js';
import { tableWidth } from '../text.js';
import { durableTable } from './durable-table.js';
import { MIGRATE_OPTIONS, readMigrate } from './options.js';
import { JSON_OPTION, runStep, STEP_EXIT_CODES } from './step.js';

const OPTIONS = {
  durables: {
    type: 'string',
    value: '<list>',
    list: true,
    help: "names of durables, or 'client/name' and 'group/name', separated by commas (default: all of the channels)",
  },
  json: JSON_OPTION,
  ...MIGRATE_OPTIONS,
} as const satisfies Options;

export const migrateDurablesCommand = defineCommand({
  name: 'migrate durables',
  summary: 'make a JetStream consumer of each durable, with exactly what is pending',
  about: [
    'Each consumer delivers what its durable was sent and has not acknowledged, and then what comes after the last message that ' +
      'was sent. A durable that a client holds is refused with its client ID: stop that client first. A name that no durable has ' +
      'makes nothing.',
    'STAN keeps the durables as they are, so until the cut there is a way back. Running it again changes nothing; a durable that has ' +
      'moved on in STAN gets its consumer made again, if nobody has used that.',
  ],
  options: OPTIONS,
  examples: [
    { command: 'resilient-stan migrate durables', what: 'all that are offline' },
    { command: 'resilient-stan migrate durables --channels orders --durables orders-1/printer', what: 'one' },
  ],
  exitCodes: STEP_EXIT_CODES,
  async run(values) {
    const options = await readMigrate(values);
    const names = values.durables?.split(',').map((name) => name.trim());
    return await runStep(
      async (signal, view) => {
        return await durables({
          ...options,
          ...signal,
          durables: names,
          onProgress: ({ done, total, durable }) => view.show({ done, total, note: durable.consumer }),
        });
      },
      (report) => durablesLines(report, tableWidth(process.stdout)),
      values.json === true,
    );
  },
});

/** The report for people. Pure. */
export function durablesLines({ durables: all }: DurablesReport, width: number): string[] {
  if (all.length === 0) return ['Nothing was made.'];
  return durableTable(all, 'outcome', ({ outcome }) => outcome, width);
}
