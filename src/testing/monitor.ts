/** The servers' own monitoring over HTTP. */
import { request } from 'node:http';
import type { Channelz, Clientsz, Jsz, Routez, Serverz } from '../monitoring/pages.js';

/**
 * How {@link Monitor} asks.
 * @category Cluster
 */
export interface MonitorOptions {
  /** How long to wait for the answer, in ms. Default 500. A frozen server accepts connections and never answers. */
  timeout?: number;
}

/**
 * Asks one server over HTTP. No method rejects: the answer is undefined when the server does not answer, and when there is no
 * such thing, as a channel that does not exist.
 *
 * @example
 * ```ts
 * const channel = await (await cluster.leader()).monitor.channelz('orders');
 * assert.equal(channel?.last_seq, 100);
 * ```
 * @category Cluster
 */
export class Monitor {
  /** Where it asks, as `http://127.0.0.1:8222`. */
  readonly url: string;

  /** @param port the server's monitoring port, on 127.0.0.1 */
  constructor(port: number) {
    this.url = `http://127.0.0.1:${port}`;
  }

  /** What the server says of itself. */
  serverz(options?: MonitorOptions): Promise<Serverz | undefined> {
    return this.get<Serverz>('/streaming/serverz', options);
  }

  /** What the server says of one channel and its subscriptions. */
  channelz(channel: string, options?: MonitorOptions): Promise<Channelz | undefined> {
    return this.get<Channelz>(`/streaming/channelsz?channel=${encodeURIComponent(channel)}&subs=1`, options);
  }

  /** What the server says of its clients. */
  clientsz(options?: MonitorOptions): Promise<Clientsz | undefined> {
    return this.get<Clientsz>('/streaming/clientsz?limit=100000', options);
  }

  /** What the server says of its connections to other servers. */
  routez(options?: MonitorOptions): Promise<Routez | undefined> {
    return this.get<Routez>('/routez', options);
  }

  /**
   * What the server says of its JetStream.
   * @param detail `streams`: also of each stream that it has; default false
   */
  jsz({ streams = false }: { streams?: boolean } = {}, options?: MonitorOptions): Promise<Jsz | undefined> {
    return this.get<Jsz>(streams ? '/jsz?accounts=true&streams=true' : '/jsz', options);
  }

  /** Whether the server is well, by its own page `/healthz`: with JetStream, whether it has caught up with its streams. */
  async healthz(options?: MonitorOptions): Promise<boolean> {
    return (await this.get<{ status: string }>('/healthz', options))?.status === 'ok';
  }

  /**
   * Any monitoring page of the server, parsed as JSON.
   * @typeParam T type of the page; it is not checked
   * @param path path of the page, as `/varz`
   */
  get<T>(path: string, { timeout = 500 }: MonitorOptions = {}): Promise<T | undefined> {
    return new Promise((resolve) => {
      // Without an agent, because a socket that is kept alive would keep a finished process alive.
      const asked = request(`${this.url}${path}`, { agent: false }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', () => resolve(undefined));
        response.on('end', () => {
          clearTimeout(timer);
          if (response.statusCode !== 200) return resolve(undefined);
          try {
            resolve(JSON.parse(Buffer.concat(chunks).toString()) as T);
          } catch {
            resolve(undefined);
          }
        });
      });
      // The limit is for the whole exchange, and not only for silence on the socket.
      const timer = setTimeout(() => {
        asked.destroy();
        resolve(undefined);
      }, timeout);
      asked.on('error', () => {
        clearTimeout(timer);
        resolve(undefined);
      });
      asked.end();
    });
  }
}
