/** The original and the facade, asked the same on the same server, and what each of them answered. */
import { createRequire } from 'node:module';
import { EventEmitter } from 'node:events';
import * as facade from '../../src/stan/index.js';
import { uniqueName, until } from '../support/clients.js';

/** What both of them are. The original's own declarations are wrong in places. */
export type Api = typeof facade;
export type { Message, Stan, Subscription, StanOptions } from '../../src/stan/index.js';

export const original = createRequire(import.meta.url)('node-nats-streaming') as Api;
export { facade };

/** One of them in one case: what it made is closed afterwards. */
export class Bench {
  readonly api: Api;
  readonly isOriginal: boolean;
  readonly #url: string;
  readonly #clients: facade.Stan[] = [];
  /** What happened, in order. */
  readonly trace: unknown[] = [];

  constructor(api: Api, url: string) {
    this.api = api;
    this.isOriginal = api === original;
    this.#url = url;
  }

  connect(options: facade.StanOptions | string | number = this.#url, clientId = uniqueName('me')): facade.Stan {
    const stan = this.api.connect('test-cluster', clientId, options);
    this.#clients.push(stan);
    return stan;
  }

  /** One that is connected, and whose errors are noted. */
  async connected(options: facade.StanOptions = {}, clientId?: string): Promise<facade.Stan> {
    const stan = this.connect({ url: this.#url, ...options }, clientId);
    stan.on('error', (error) => this.note('error on the client', error));
    await event(stan, 'connect');
    return stan;
  }

  note(...what: unknown[]): void {
    this.trace.push(what.length === 1 ? plain(what[0]) : what.map(plain));
  }

  /** Notes every event, with what it carries. */
  record(emitter: EventEmitter, name: string, ...except: string[]): void {
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called with its `this` below
    const { emit } = emitter;
    emitter.emit = (event: string, ...args: unknown[]): boolean => {
      if (!except.includes(event)) {
        const told = event === 'message' ? [] : args.map((arg) => (arg === emitter ? 'itself' : plain(arg)));
        this.note(name, event, ...told);
      }
      const unheard = event === 'error' && emitter.listenerCount('error') === 0;
      return unheard ? false : emit.call(emitter, event, ...args);
    };
  }

  async until(condition: () => unknown, what: string): Promise<void> {
    await until(
      condition,
      () => `${this.isOriginal ? 'original' : 'facade'}: ${what}; so far: ${JSON.stringify(this.trace)}`,
    );
  }

  async end(): Promise<void> {
    await Promise.all(
      this.#clients.map(async (stan) => {
        stan.on('error', () => {});
        stan.removeAllListeners('close');
        if (stan.isClosed() || (stan.nc as { closed?: boolean }).closed) return;
        const closed = event(stan, 'close');
        stan.close();
        await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 3000).unref())]);
      }),
    );
  }
}

/** Errors by their text, be they strings or not; everything that is not data by its kind. */
export function plain(value: unknown): unknown {
  if (value instanceof Error) {
    const { code } = value as { code?: string };
    return code === undefined ? `Error: ${value.message}` : `Error: ${value.message} [${code}]`;
  }
  if (typeof value === 'string' && (value.startsWith('stan: ') || value.startsWith('client has')))
    return `Error: ${value}`;
  if (value instanceof EventEmitter) return value.constructor.name;
  return value;
}

export function event(emitter: EventEmitter, name: string): Promise<unknown> {
  return new Promise((resolve) => emitter.once(name, resolve));
}

/** Publishes, and waits for the answer. */
export function published(stan: facade.Stan, channel: string, data?: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stan.publish(channel, data, (error) => (error ? reject(new Error(String(error))) : resolve()));
  });
}

export type Case = (bench: Bench) => Promise<void>;

/** What it answers, told by a trace. */
export async function run(api: Api, url: string, run: Case): Promise<unknown[]> {
  const bench = new Bench(api, url);
  try {
    await run(bench);
    // What the end tells is not asked for.
    return [...bench.trace];
  } finally {
    await bench.end();
  }
}
