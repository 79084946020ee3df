/** A page, its blocks in order, and their run: one server for the page, and what stays up until its end. */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { cacheDirectory } from '../../src/testing/server-binary/cache.js';
import { resolveServer, StanCluster } from '../../src/testing/index.js';
import { blocksOf, installedBy, packagesOf, programsOf, type Block, type Program } from './blocks.js';
import { readPage } from './pages.js';
import type { DocumentProject } from './project.js';
import { Running } from './running.js';

const ADDRESSES = fileURLToPath(new URL('addresses.cjs', import.meta.url));
/** The ports that pages speak of: those of up to five nodes, and of their monitoring. */
const CLIENTS = [4222, 4223, 4224, 4225, 4226];
const MONITORS = 4000;

export class Page {
  readonly name: string;
  readonly blocks: readonly Block[];
  readonly programs: readonly Program[];
  /** It says to make the folder one of ECMAScript modules; without that, npm makes none. */
  readonly isModule: boolean;
  /** What can be seen without running anything. */
  readonly faults: readonly string[];

  constructor(name: string, markdown = readPage(name)) {
    const { blocks, faults } = blocksOf(name, markdown);
    this.name = name;
    this.blocks = blocks;
    this.programs = programsOf(blocks);
    this.isModule = blocks.some(({ language, code }) => language === 'sh' && /\btype=module\b/.test(code));
    const installed = installedBy(blocks);
    const missing = this.programs.flatMap(({ block, code }) =>
      packagesOf(code)
        .filter((each) => !installed.includes(each))
        .map((each) => `${name}:${block.line}: imports '${each}', and no block of the page says 'npm install ${each}'`),
    );
    this.faults = [...faults, ...missing];
  }

  /** Runs and checks its blocks, one after the other. @throws Error for the first that is not as it should be */
  async run(project: DocumentProject): Promise<void> {
    const errors = project.errors.get(this.name);
    if (errors !== undefined) throw new Error(errors.join('\n'));
    const steps = this.blocks.filter(({ notRun, text }) => notRun === undefined && text === undefined);
    if (steps.length === 0) return;
    const folder = project.folder(this.name);
    await using cluster = await StanCluster.start({ mode: 'single', store: 'memory' });
    const ports = new Ports(join(folder, '.addresses'));
    const [node] = cluster.nodes;
    for (const client of CLIENTS) {
      await ports.add(client, portOf(node!.url));
      await ports.add(client + MONITORS, portOf(node!.monitor.url));
    }
    const env = environment(project, folder, ports.dir);
    const kept: Running[] = [];
    const all: Running[] = [];
    const start = async (block: Block, command: string, ...args: string[]): Promise<void> => {
      const { output, keep, fails } = block;
      const running = new Running({ place: placeOf(block), command, args, cwd: folder, env, output, keep, fails });
      all.push(running);
      await running.done();
      if (keep) kept.push(running);
    };
    try {
      for (const block of steps) {
        if (block.language === 'sh') {
          await start(block, 'bash', '-euc', await ownPorts(block.code, ports));
        } else if (block.language === 'ts' || block.language === 'js') {
          const program = this.programs.find((each) => each.block === block)!;
          if (program.run) await start(block, process.execPath, program.file.replace(/ts$/, 'js'));
        } else await check(block, folder);
      }
      for (const running of kept.reverse()) await running.end();
    } finally {
      for (const running of all) running.kill();
    }
  }
}

const portOf = (url: string): number => Number(new URL(url).port);
const placeOf = ({ page, line }: Block): string => `${page}:${line}`;

/** What the programs of a page take for an address, and where it is in truth. See addresses.cjs. */
class Ports {
  readonly dir: string;
  #made = false;
  readonly #ports: Record<string, number> = {};

  constructor(dir: string) {
    this.dir = dir;
  }

  async add(port: number, real: number): Promise<void> {
    this.#ports[port] = real;
    if (!this.#made) await mkdir(this.dir, { recursive: true });
    this.#made = true;
    await writeFile(join(this.dir, 'ports.json'), JSON.stringify(this.#ports));
  }
}

function environment(project: DocumentProject, folder: string, addresses: string): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^npm_|^NODE_OPTIONS$|^INIT_CWD$|^CI$/i.test(name));
  return {
    ...Object.fromEntries(own),
    PATH: `${project.commands}:${process.env['PATH'] ?? ''}`,
    HOME: folder,
    CURL_HOME: addresses,
    RESILIENT_STAN_CACHE: cacheDirectory(process.env),
    DOCUMENT_ADDRESSES: addresses,
    NODE_OPTIONS: `--require ${ADDRESSES}`,
  };
}

/** A cluster of the page's own gets free ports in the place of those that it asks for, and the page's programs find it there. */
async function ownPorts(code: string, ports: Ports): Promise<string> {
  const asked = /\bresilient-stan cluster\b.*--port (\d+)/.exec(code)?.[1];
  if (asked === undefined) return code;
  const base = await freeBase();
  for (let index = 0; index < CLIENTS.length; index++) {
    await ports.add(Number(asked) + index, base + index);
    await ports.add(Number(asked) + index + MONITORS, base + index + MONITORS);
  }
  return code.replace(/(--port )\d+/, `$1${base}`);
}

/** A port with its neighbours, and with those above that a cluster needs. */
async function freeBase(): Promise<number> {
  for (;;) {
    const base = 11_000 + Math.floor(Math.random() * 4000);
    const wanted = [0, 2000, MONITORS].flatMap((above) => [0, 1, 2].map((index) => base + above + index));
    if ((await Promise.all(wanted.map(isFree))).every(Boolean)) return base;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Reads a file of settings as what it is for would read it. */
async function check(block: Block, folder: string): Promise<void> {
  const { language, code } = block;
  try {
    if (language === 'json') JSON.parse(code);
    else if (language === 'yaml')
      for (const { errors } of parseAllDocuments(code)) if (errors.length > 0) throw errors[0]!;
    if (language === 'conf') await checkConfiguration(code, folder);
  } catch (error) {
    throw new Error(`${placeOf(block)}: ${(error as Error).message}`, { cause: error });
  }
}

/** The server has no option that only checks (`-t` starts it), so it is stopped as soon as it has read the file. */
async function checkConfiguration(code: string, folder: string): Promise<void> {
  const dir = await mkdtemp(join(folder, 'conf-'));
  await writeFile(join(dir, 'server.conf'), code);
  const server = await resolveServer();
  const child = spawn(server, ['-c', 'server.conf', '-p', '-1', '-m', '0'], {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  const read = await new Promise<boolean>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (said.includes('Starting nats-streaming-server')) resolve(true);
      });
    }
    child.once('close', () => resolve(false));
  });
  child.kill('SIGKILL');
  if (!read) throw new Error(`${basename(server)} does not take it: ${said}`);
}
