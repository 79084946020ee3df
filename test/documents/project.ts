/**
 * A new project of a user, with the packed package installed, and the blocks of all pages as files.
 *
 * What else the pages install is linked from here, where it is a dependency for development: a test run does not fetch it.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';
import type { Page } from './page.js';
import { ROOT } from './pages.js';

const run = promisify(execFile);

/** As `npx tsc --init` has it, where that matters, with the decorators that NestJS needs. */
const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  strict: true,
  esModuleInterop: true,
  skipLibCheck: true,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
  types: ['node'],
};

export class DocumentProject {
  readonly dir: string;
  /** What is wrong in the TypeScript of a page, by its name. */
  readonly errors = new Map<string, string[]>();

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async make(): Promise<DocumentProject> {
    const dir = await realpath(await mkdtemp(join(tmpdir(), 'resilient-stan-documents-')));
    const project = new DocumentProject(dir);
    await project.#install();
    return project;
  }

  /** Where the files of a page are. */
  folder(page: string): string {
    return join(this.dir, page.replace(/\.md$/, '').replaceAll('/', '_'));
  }

  /** Commands that pages use, before those of the system. */
  get commands(): string {
    return join(this.dir, 'commands');
  }

  async remove(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }

  async #install(): Promise<void> {
    // The settings of the npm that runs us are not theirs.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^npm_(package|lifecycle|command)|^INIT_CWD$/i.test(name)),
    );
    if (await isStale()) await run('npm', ['run', 'build'], { cwd: ROOT, env });
    await run('npm', ['pack', '--ignore-scripts', '--pack-destination', this.dir], { cwd: ROOT, env });
    const tarball = (await readdir(this.dir)).find((name) => name.endsWith('.tgz'))!;
    await this.#write('package.json', JSON.stringify({ name: 'project', private: true }));
    await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', join(this.dir, tarball)], {
      cwd: this.dir,
      env,
    });
    const { devDependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
      devDependencies: Record<string, string>;
    };
    for (const name of Object.keys(devDependencies)) {
      const link = join(this.dir, 'node_modules', name);
      if (existsSync(link) || !existsSync(join(ROOT, 'node_modules', name))) continue;
      await mkdir(dirname(link), { recursive: true });
      await symlink(join(ROOT, 'node_modules', name), link);
    }
    await symlink(join(ROOT, 'node_modules', '.bin', 'tsx'), join(this.dir, 'node_modules', '.bin', 'tsx'));
    await this.#command('npx', `exec '${this.dir}/node_modules/.bin'/"$@"`);
    await this.#command('npm', INSTALLED.replace('MODULES', join(this.dir, 'node_modules')));
  }

  async #command(name: string, script: string): Promise<void> {
    const file = await this.#write(join('commands', name), `#!/bin/sh\n${script}\n`);
    await chmod(file, 0o755);
  }

  async #write(name: string, text: string): Promise<string> {
    const file = join(this.dir, name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
    return file;
  }

  /** Writes the files of these pages, and compiles all TypeScript at once. */
  async compile(pages: readonly Page[]): Promise<void> {
    const programs = new Map<string, { page: Page; offset: number; line: number }>();
    for (const page of pages) {
      const folder = this.folder(page.name);
      await mkdir(folder, { recursive: true });
      const type = page.isModule ? 'module' : 'commonjs';
      await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'project', private: true, type }));
      for (const { file, code, offset, block } of page.programs) {
        const path = join(folder, file);
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, code);
        if (/\.[cm]?ts$/.test(file)) programs.set(path, { page, offset, line: block.line });
      }
      for (const { file, code } of page.blocks)
        if (file?.match(/\.[cm]?[jt]s$/) === null) await writeFile(join(folder, file), code);
    }
    const files = [...programs.keys()];
    const program = ts.createProgram(files, OPTIONS, ts.createCompilerHost({ ...OPTIONS }));
    const found = [
      ...program.getOptionsDiagnostics(),
      ...program.getSyntacticDiagnostics(),
      ...program.getSemanticDiagnostics(),
    ];
    for (const { file, start, messageText } of found) {
      const text = ts.flattenDiagnosticMessageText(messageText, ' ');
      const where = file === undefined ? undefined : programs.get(file.fileName);
      if (where === undefined) throw new Error(`the blocks do not compile: ${file?.fileName ?? ''} ${text}`);
      const at = file!.getLineAndCharacterOfPosition(start ?? 0).line;
      // Of what an earlier block has, that one tells.
      if (at < where.offset) continue;
      const errors = this.errors.get(where.page.name) ?? [];
      errors.push(`${where.page.name}:${where.line + 1 + at - where.offset}: ${text}`);
      this.errors.set(where.page.name, errors);
    }
    program.emit();
  }
}

/** Whether something in src/ is newer than what was built of it. `npm test` has just built it. */
async function isStale(): Promise<boolean> {
  const built = await stat(join(ROOT, 'dist', 'index.js')).catch(() => undefined);
  if (built === undefined) return true;
  const sources = await readdir(join(ROOT, 'src'), { recursive: true });
  const times = await Promise.all(sources.map(async (name) => (await stat(join(ROOT, 'src', name))).mtimeMs));
  return times.some((time) => time > built.mtimeMs);
}

/** `npm install` of what a page says: everything is there already, or is no dependency for development of ours. */
const INSTALLED = `
case "$1" in
  install | i | add)
    shift
    for name in "$@"; do
      case "$name" in
        -*) ;;
        *)
          bare=$(printf %s "$name" | sed 's/\\(.\\)@.*$/\\1/')
          test -e "MODULES/$bare" || { echo "a page installs $name, which is no devDependency of this repository" >&2; exit 1; }
          ;;
      esac
    done
    ;;
  init | pkg) PATH="\${PATH#*:}" exec npm "$@" ;;
  *) echo "a test does not run 'npm $*': use not-run=repository" >&2; exit 1 ;;
esac`;
