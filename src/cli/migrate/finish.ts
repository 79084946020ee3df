/** `resilient-stan migrate finish` */
import { finish, type FinishReport } from '../../migrate/index.js';
import { defineCommand, type Options } from '../command.js';
import { table } from '../table.js';
import { tableWidth } from '../text.js';
import { lengthOfTime, wholeNumber } from '../values.js';
import { MIGRATE_OPTIONS, readMigrate } from './options.js';
import { JSON_OPTION, runStep, STEP_EXIT_CODES } from './step.js';

const OPTIONS = {
  replicas: {
    type: 'string',
    value: '<n>',
    help: 'on how many servers each stream is kept (default: 3 in a cluster, else 1)',
  },
  timeout: {
    type: 'string',
    value: '<time>',
    help: 'how long the servers may take for each stream until all of them have it, as 5m (default 60s)',
  },
  json: JSON_OPTION,
  ...MIGRATE_OPTIONS,
} as const satisfies Options;

export const migrateFinishCommand = defineCommand({
  name: 'migrate finish',
  summary: 'the end of a move in place: each stream gets its replicas, when the servers are plain ones',
  about: [
    'In place, in a cluster, a stream is on one server until now, because the JetStream of the streaming server loses streams with ' +
      'several replicas when servers die. Run this when plain servers, of version 2.10 or later, are in the places of all streaming ' +
      'servers. It waits until each of the servers has all of the stream. It may be run again.',
  ],
  options: OPTIONS,
  examples: [{ command: 'resilient-stan migrate finish --to nats://a:4222', what: 'all streams that a copy has made' }],
  exitCodes: { ...STEP_EXIT_CODES, 0: 'each stream is on as many servers as it should be' },
  async run(values) {
    const options = await readMigrate(values);
    const replicas = wholeNumber('replicas', values.replicas, { min: 1, max: 5 });
    const timeout = values.timeout === undefined ? undefined : lengthOfTime('timeout', values.timeout);
    return await runStep(
      async (signal, view) =>
        await finish({
          ...options,
          ...signal,
          replicas,
          timeout,
          onProgress: ({ done, total }) => view.show({ done, total }),
        }),
      (report) => finishLines(report, tableWidth(process.stdout)),
      values.json === true,
    );
  },
});

/** The report for people. Pure. */
export function finishLines({ streams }: FinishReport, width: number): string[] {
  if (streams.length === 0) return ['There are no streams that a copy has made.'];
  return table(
    [{ head: 'channel' }, { head: 'stream' }, { head: 'servers', right: true }, { head: 'state' }],
    streams.map(({ channel, stream, replicas, outcome }) => [channel, stream, String(replicas), outcome]),
    width,
  );
}
