/** `resilient-stan verify`: runs a verification, shows it on the terminal, and writes the report. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import {
  isClean,
  renderHtml,
  renderTimeline,
  verify,
  type Progress,
  type ReportData,
  type RunNote,
} from '../../testing/index.js';
import { plural } from '../../testing/report/format.js';
import { checkVerifyOptions, type CheckedVerifyOptions } from '../../testing/verification/options.js';
import { defineCommand, type Values } from '../command.js';
import { readConnection } from '../connection-options.js';
import { ARGUMENTS, readArguments } from './arguments.js';
import { describeNote, LiveState, renderLive, statusLine } from './live-view.js';
import { Screen } from './screen.js';
import { Interruption } from '../interruption.js';
import { paintFor } from '../style.js';
import { commandLines, renderVerdict } from './verdict-view.js';
import { assertWritable } from './writable.js';

/** Time between two status lines where there is no terminal, in ms. */
const STATUS_INTERVAL = 5000;

export const verifyCommand = defineCommand({
  name: 'verify',
  summary: 'publish and subscribe, break the cluster meanwhile, and judge what became of every message',
  options: ARGUMENTS,
  exitCodes: { 0: 'nothing was lost, doubled or broken', 1: 'something was, or it failed', 130: 'it was interrupted' },
  run: runVerify,
});

async function runVerify(values: Values<typeof ARGUMENTS>): Promise<number> {
  const connection = values.servers === undefined ? undefined : await readConnection(values);
  const { options, out, svg } = readArguments(values, connection);
  const checked = checkVerifyOptions(options);
  const dir = resolve(out ?? join('reports', `verify-${checked.seed}-${checked.ordering}`));
  await assertWritable('--out', dir, 'directory');
  if (svg !== undefined) await assertWritable('--svg', resolve(svg), 'file');

  using interruption = new Interruption();
  const view = process.stderr.isTTY && process.env.TERM !== 'dumb' ? new TerminalView(checked) : new LogView(checked);
  void interruption.came.then(() => view.interrupted());
  let data: ReportData;
  try {
    data = await verify({
      ...options,
      seed: checked.seed,
      logDir: join(dir, 'logs'),
      signal: interruption.signal,
      onProgress: (progress) => view.progress(progress),
      onNote: (note) => view.note(note),
    });
  } catch (error) {
    view.end();
    if (interruption.exitCode !== undefined) {
      // Ctrl-C may also have ended what was just being asked, as a server for its version.
      console.error('interrupted before the first message: there is nothing to report');
      return interruption.exitCode;
    }
    throw error;
  }
  view.end();
  const interrupted = interruption.exitCode;

  const width = process.stdout.isTTY ? Math.max(process.stdout.columns - 1, 20) : Infinity;
  console.log(renderVerdict(data, paintFor(process.stdout, process.env), width).join('\n'));
  // The verdict is there, whatever becomes of the files.
  const html = await writeReports(data, dir, svg);
  console.log(`\n  report: ${shortened(html)}`);
  if (!isClean(data)) console.log(`  logs:   ${shortened(join(dir, 'logs'))}`);
  console.log(commandLines(`  again:  `, data.replay, width).join('\n'));
  return interrupted ?? (isClean(data) ? 0 : 1);
}

/** A path as it is shown: from here on, if it lies below. */
function shortened(path: string): string {
  const fromHere = relative(process.cwd(), path);
  return fromHere === '' || fromHere.startsWith('..') || isAbsolute(fromHere) ? path : fromHere;
}

async function writeReports(data: ReportData, dir: string, svg: string | undefined): Promise<string> {
  await mkdir(dir, { recursive: true });
  const html = join(dir, 'report.html');
  await Promise.all([
    writeFile(join(dir, 'report.json'), `${JSON.stringify(data)}\n`),
    writeFile(html, renderHtml(data)),
    svg === undefined ? undefined : writePicture(data, svg),
  ]);
  return html;
}

async function writePicture(data: ReportData, file: string): Promise<void> {
  await mkdir(dirname(resolve(file)), { recursive: true });
  await writeFile(file, renderTimeline(data, { standalone: true }));
}

const ENDING =
  'ending the run: what is broken is mended, and what is under way may arrive. Ctrl-C again ends it at once';

interface View {
  progress(progress: Progress): void;
  note(note: RunNote): void;
  /** The first Ctrl-C has come. */
  interrupted(): void;
  end(): void;
}

function titleOf({ seed, ordering, cluster }: CheckedVerifyOptions): string[] {
  const where = cluster ? `${plural(cluster.nodes, 'node')}, ${cluster.mode}` : 'your own servers';
  return ['resilient-stan verify', `seed ${seed}`, ordering, where];
}

class TerminalView implements View {
  readonly #screen = new Screen(process.stderr);
  readonly #state: LiveState;
  readonly #paint = paintFor(process.stderr, process.env);
  readonly #title: readonly string[];

  constructor(options: CheckedVerifyOptions) {
    this.#title = titleOf(options);
    this.#state = new LiveState(options.rate);
    // The cursor comes back however the process ends.
    process.once('exit', () => this.end());
  }

  progress(progress: Progress): void {
    this.#state.progress(progress);
    this.#screen.draw(renderLive(this.#title, progress, this.#state, this.#screen.width, this.#paint));
  }

  note(note: RunNote): void {
    this.#state.note(note);
  }

  interrupted(): void {
    this.#state.ending = ENDING;
  }

  end(): void {
    this.#screen.clear();
  }
}

/** Writes lines, where the output is a file or a pipe. */
class LogView implements View {
  readonly #state: LiveState;
  readonly #paint = paintFor({}, {});
  #doing = '';
  #next = STATUS_INTERVAL;

  constructor(options: CheckedVerifyOptions) {
    console.error(titleOf(options).join(' · '));
    this.#state = new LiveState(options.rate);
  }

  progress(progress: Progress): void {
    this.#state.progress(progress);
    const { phase, doing, at } = progress;
    if (phase !== 'running' && doing !== this.#doing) console.error(`${doing} …`);
    this.#doing = doing;
    if (at < this.#next || phase !== 'running') return;
    this.#next = at + STATUS_INTERVAL;
    console.error(statusLine(progress, this.#state));
  }

  note(note: RunNote): void {
    if (note.kind !== 'connection') console.error(describeNote(note, this.#paint));
  }

  interrupted(): void {
    console.error(ENDING);
  }

  end(): void {}
}
