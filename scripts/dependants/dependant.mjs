/** What the checks of programs on the package of `alias-package.mjs` share: a project that is installed with it, and a hard time. */
import { fork, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { makeAliasPackage } from '../alias-package.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** How long there is no server at all, in ms. */
const OUTAGE = 25_000;

export const { StanCluster, resolveServer } = await import(pathToFileURL(join(ROOT, 'dist/testing.mjs')).href);

/** Runs a command to its end. @returns what it wrote. @throws when its exit code is not 0 */
export function succeed(cwd, command, ...args) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} exited with ${status}:\n${stdout}${stderr}`);
  return stdout.trim();
}

/** A project in a directory of its own, and the processes of its programs. */
export class Project {
  dir = mkdtempSync(join(tmpdir(), 'dependant-'));
  /** How processes ended that nobody has asked to end. */
  ended = [];
  #children = new Set();

  /**
   * Installs these packages, and the alias package for node-nats-streaming wherever it is asked for.
   * @param original keeps node-nats-streaming itself, to compare with
   */
  async install(dependencies, { original = false } = {}) {
    const project = { name: 'project', private: true, dependencies };
    if (!original) {
      const alias = `file:${await makeAliasPackage(join(this.dir, 'alias'))}`;
      project.dependencies = { ...dependencies, 'node-nats-streaming': alias };
      project.overrides = { 'node-nats-streaming': alias };
    }
    writeFileSync(join(this.dir, 'package.json'), JSON.stringify(project));
    succeed(this.dir, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', '--install-links');
  }

  /** Starts a program, and waits for its first message to its parent. */
  async start(role, program, ...args) {
    const file = join(this.dir, `${role}.cjs`);
    writeFileSync(file, program);
    const child = fork(file, args, { cwd: this.dir });
    this.#children.add(child);
    child.on(
      'exit',
      (code, signal) => this.#children.delete(child) && this.ended.push(`${role} ended with ${signal ?? code}`),
    );
    await new Promise((resolve, reject) => {
      child.once('message', resolve);
      child.once('exit', () => reject(new Error(`${role} ended before it was ready`)));
    });
    return child;
  }

  /** Ends a program by a signal. @returns its exit code, or the signal that ended it; undefined: it did not end within 20 s */
  async terminate(child, signal = 'SIGTERM') {
    this.#children.delete(child);
    const exit = new Promise((resolve) => child.once('exit', (code, by) => resolve(by ?? code)));
    child.kill(signal);
    const how = await Promise.race([exit, sleep(20_000, undefined, { ref: false })]);
    if (how === undefined) child.kill('SIGKILL');
    return how;
  }

  remove() {
    for (const child of this.#children) child.removeAllListeners('exit').kill('SIGKILL');
    this.#children.clear();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Asks a program for what it sends when it is sent something. */
export function ask(child, question) {
  return new Promise((resolve) => {
    child.once('message', resolve);
    child.send(question);
  });
}

/** Kills the leader twice, and then all nodes for 25 s. @param tell is called with what has been done */
export async function breakEverything(cluster, tell) {
  for (let times = 0; times < 2; times++) {
    await sleep(3000);
    const leader = await cluster.leader();
    await leader.kill();
    await tell('the leader was killed');
    await sleep(3000);
    await leader.start();
  }
  await Promise.all(cluster.nodes.map((node) => node.kill()));
  await tell('all are down');
  await sleep(OUTAGE);
  await Promise.all(cluster.nodes.map((node) => node.start()));
  await tell('all are back');
  await sleep(5000);
}
