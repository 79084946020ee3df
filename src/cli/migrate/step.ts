/** What the commands of all steps have in common: how they end, and how problems are told. */
import type { MigrateOptions, Report } from '../../migrate/index.js';
import { Interruption } from '../interruption.js';
import { Output } from '../output.js';
import { say } from '../say.js';
import { ProgressView } from './progress.js';

/** The exit codes of every step. */
export const STEP_EXIT_CODES: Readonly<Record<number, string>> = {
  0: 'it is done and true',
  1: 'it is not: what is wrong, and where, is said',
  130: 'it was interrupted',
};

/** How long the connections of an interrupted step may keep the process, in ms. */
const LINGER = 200;

/** The option that every step has. */
export const JSON_OPTION = { type: 'boolean', help: 'the report as JSON, in the place of lines for people' } as const;

/**
 * Runs a step, writes its report, and tells its problems on stderr.
 * @param run the step, with the signal of Ctrl-C, and the view of its progress, which is gone when the step ends
 * @param lines the report for people
 * @param json whether the report is written as JSON
 * @returns the exit code
 */
export async function runStep<R extends Report>(
  run: (options: Pick<MigrateOptions, 'signal'>, view: ProgressView) => Promise<R>,
  lines: (report: R) => readonly string[],
  json: boolean,
): Promise<number> {
  using interruption = new Interruption();
  const view = new ProgressView();
  let report: R;
  try {
    report = await run({ signal: interruption.signal }, view);
  } catch (error) {
    const { exitCode } = interruption;
    if (exitCode !== undefined) {
      // The official client cannot be told to give up a connection that it makes, and would keep the process for some seconds.
      setTimeout(() => process.exit(exitCode), LINGER).unref();
      return exitCode;
    }
    throw error;
  } finally {
    view.clear();
  }
  const output = new Output();
  const text = json ? [JSON.stringify(report)] : lines(report);
  await Promise.race([output.write(text.map((line) => `${line}\n`).join('')).catch(() => undefined), output.gone]);
  for (const { message } of report.problems) say(`✗ ${message}`);
  if (report.problems.some(({ code }) => code === 'interrupted')) return interruption.exitCode ?? 1;
  return report.ok ? 0 : 1;
}
