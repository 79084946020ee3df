/** The packed package, a cluster, and a folder for the projects that load it. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Group } from './cases.js';
import type { Project } from './project.js';
import { Referee } from './referee.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export class Matrix {
  readonly #dir: string;
  readonly #tarball: string;
  readonly #referee: Referee;

  private constructor(dir: string, tarball: string, referee: Referee) {
    this.#dir = dir;
    this.#tarball = tarball;
    this.#referee = referee;
  }

  static async start(): Promise<Matrix> {
    const dir = await realpath(await mkdtemp(join(tmpdir(), 'resilient-stan-matrix-')));
    // As its users get it.
    await promisify(execFile)('npm', ['pack', '--pack-destination', dir], { cwd: ROOT });
    const tarball = (await readdir(dir)).find((name) => name.endsWith('.tgz'));
    return new Matrix(dir, join(dir, tarball!), await Referee.start());
  }

  /** Installs what the cases of a group share. Removed by {@link clear}. */
  install(group: Group): Promise<Project> {
    return group.make(join(this.#dir, group.id), this.#tarball);
  }

  /** @throws Error that says what was wrong */
  async run(group: Group, name: string, project: Project): Promise<void> {
    await group.cases[name]!(project, (start) => this.#referee.judge(start));
  }

  /** Some have hundreds of megabytes. */
  async clear(group: Group): Promise<void> {
    await rm(join(this.#dir, group.id), { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    await this.#referee.stop();
    await rm(this.#dir, { recursive: true, force: true });
  }
}
