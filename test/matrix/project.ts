/** A project of a user: a folder with a package.json, what it has installed, and files. */
import { spawn } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** As long as a command may take, in ms: a network that does not answer must not hold up the rest for ever. */
const LIMIT = 300_000;

export interface Running {
  /** When it has ended. It never rejects. */
  ended: Promise<{ code: number | null; output: string }>;
  /** With all that it has started. */
  kill(): void;
}

export class Project {
  readonly dir: string;
  constructor(dir: string) {
    this.dir = dir;
  }

  /** Installs with npm, or writes only what is to be installed. */
  static async make(
    dir: string,
    dependencies: Readonly<Record<string, string>>,
    { install = true, manifest = {} }: { install?: boolean; manifest?: object } = {},
  ): Promise<Project> {
    const project = new Project(dir);
    await project.write({
      'package.json': JSON.stringify({ name: 'project', private: true, version: '1.0.0', ...manifest, dependencies }),
    });
    if (install) await project.succeed('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund']);
    return project;
  }

  path(...names: string[]): string {
    return join(this.dir, ...names);
  }

  bin(name: string): string {
    return this.path('node_modules', '.bin', name);
  }

  async write(files: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(this.path(name)), { recursive: true });
      await writeFile(this.path(name), text);
    }
  }

  run(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}, cwd = this.dir): Running {
    // The settings of the npm or the loader that runs us are not theirs.
    const own = Object.entries(process.env).filter(
      ([name]) => !/^npm_(package|lifecycle|command|execpath|node_execpath)|^NODE_OPTIONS$|^INIT_CWD$/i.test(name),
    );
    const child = spawn(command, args, {
      cwd,
      env: { ...Object.fromEntries(own), ...env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (data: Buffer) => (output += data.toString()));
    child.stderr.on('data', (data: Buffer) => (output += data.toString()));
    const kill = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    };
    const ended = new Promise<{ code: number | null; output: string }>((resolve) => {
      const timer = setTimeout(() => {
        output += `\nstill running after ${LIMIT / 1000} s`;
        kill();
      }, LIMIT);
      const end = (code: number | null): void => {
        clearTimeout(timer);
        resolve({ code, output });
      };
      child.once('error', (error) => {
        output += error.message;
        end(null);
      });
      child.once('close', end);
    });
    return { ended, kill };
  }

  /** @throws Error with what it wrote, when it does not end with exit code 0 */
  async succeed(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
    const { code, output } = await this.run(command, args, env).ended;
    if (code === 0) return output;
    throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${output.slice(-4000)}`);
  }

  async remove(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }
}
