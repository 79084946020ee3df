/**
 * Examples as a user runs them who has copied one: alone, in a new project, as an ECMAScript module or as CommonJS. Only the library
 * itself comes from the source, so that no build is needed; the package is what `test/package` looks at.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitFor } from '../../src/testing/index.js';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PATIENCE = 60_000;

/** What `npm init -y` says of the modules of a project: nothing, or `"type": "commonjs"`, which is the same. */
export type ModuleKind = 'module' | 'commonjs';

/** As `tsc --init` makes them, and what the frameworks ask for. */
export const COMPILER_OPTIONS = {
  target: 'es2022',
  module: 'nodenext',
  lib: ['es2023', 'esnext.disposable'],
  types: ['node'],
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  isolatedModules: true,
  skipLibCheck: true,
  experimentalDecorators: true,
  noEmit: true,
  paths: {
    'resilient-stan': [join(ROOT, 'src/index.ts')],
    'resilient-stan/testing': [join(ROOT, 'src/testing/index.ts')],
  },
};

/** A new project with everything installed, into which examples are copied. */
export class CopiedExamples {
  readonly dir: string;
  readonly #runs = new Set<Run>();

  constructor(type: ModuleKind) {
    this.dir = mkdtempSync(join(tmpdir(), `resilient-stan-copied-${type}-`));
    writeFileSync(join(this.dir, 'package.json'), JSON.stringify({ name: 'copied', private: true, type }));
    writeFileSync(
      join(this.dir, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: COMPILER_OPTIONS, include: ['*'] }),
    );
    symlinkSync(join(ROOT, 'node_modules'), join(this.dir, 'node_modules'));
  }

  /** Copies a file or a folder of `examples/`. @returns where it is now */
  copy(example: string): string {
    const there = join(this.dir, basename(example));
    cpSync(join(ROOT, 'examples', example), there, { recursive: true });
    return there;
  }

  folder(name: string): string {
    const dir = join(this.dir, name);
    mkdirSync(dir, { recursive: true });
    return dir;
  }

  /** Copies an example and starts it. @param example its path below `examples/`, and arguments behind it */
  start([example, ...args]: readonly [string, ...string[]], env: Record<string, string> = {}): Run {
    const run = new Run(this.dir, this.copy(example), args, env);
    this.#runs.add(run);
    return run;
  }

  /** Ends what still runs, and the project. */
  remove(): void {
    for (const run of this.#runs) run.child.kill('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A program that runs. */
export class Run {
  readonly child: ChildProcess;
  readonly #name: string;
  #isOver = false;
  stdout = '';
  stderr = '';
  /** Resolves to the exit code, or to the signal that has ended it. */
  readonly ended: Promise<number | string | null>;

  constructor(cwd: string, file: string, args: readonly string[], env: Record<string, string>) {
    this.#name = basename(file);
    this.child = spawn(process.execPath, ['--import', 'tsx', file, ...args], {
      cwd,
      env: { ...process.env, TSX_TSCONFIG_PATH: join(cwd, 'tsconfig.json'), ...env },
    });
    this.child.stdout!.on('data', (data: Buffer) => (this.stdout += data.toString()));
    this.child.stderr!.on('data', (data: Buffer) => (this.stderr += data.toString()));
    this.ended = once(this.child, 'close').then(([code, signal]) => {
      this.#isOver = true;
      return (signal ?? code) as number | string | null;
    });
  }

  get said(): string {
    return `${this.#name}: ${this.stdout}${this.stderr}`;
  }

  /** Waits for something that it says. */
  async says(what: RegExp): Promise<RegExpExecArray> {
    const found = await waitFor(() => what.exec(this.stdout) ?? (this.#isOver || undefined), {
      timeout: PATIENCE,
      what: () => `no ${String(what)} of ${this.said}`,
    });
    // Nothing more comes of one that is over.
    if (found === true) assert.fail(`it ended without ${String(what)} of ${this.said}`);
    return found;
  }

  /** All that it has said of a kind, by the first group. */
  all(what: RegExp): string[] {
    return [...this.stdout.matchAll(what)].map(([, group]) => group!);
  }

  /** Asserts that it ends by itself, with no complaint. */
  async endsWell(): Promise<void> {
    assert.equal(await this.ended, 0, this.said);
    assert.equal(this.stderr, '', this.said);
  }

  /** Ends it as Ctrl-C, Docker or Kubernetes do. */
  async stop(signal: 'SIGINT' | 'SIGTERM' = 'SIGTERM'): Promise<void> {
    this.child.kill(signal);
    await this.endsWell();
  }
}
