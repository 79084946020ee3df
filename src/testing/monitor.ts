/** The servers' own monitoring over HTTP: what they say of themselves. */
import { request } from 'node:http';

export interface Serverz {
  cluster_id: string;
  server_id: string;
  version: string;
  /** `CLUSTERED`, `FT_ACTIVE`, `FT_STANDBY`, `STANDALONE`, `FAILED`, `SHUTDOWN`. */
  state: string;
  /** Only when clustered. `Leader` precedes readiness. */
  role?: 'Leader' | 'Follower' | 'Candidate' | 'Shutdown';
  node_id?: string;
  clients: number;
  subscriptions: number;
  channels: number;
  total_msgs: number;
}

export interface SubscriptionMonitor {
  client_id: string;
  inbox: string;
  durable_name?: string;
  queue_name?: string;
  is_durable: boolean;
  is_offline: boolean;
  max_inflight: number;
  ack_wait: number;
  last_sent: number;
  pending_count: number;
  is_stalled: boolean;
}

export interface Channelz {
  name: string;
  msgs: number;
  bytes: number;
  first_seq: number;
  last_seq: number;
  subs_count?: number;
  subscriptions?: SubscriptionMonitor[];
}

export interface Clientsz {
  total: number;
  clients: { id: string; hb_inbox: string; subs_count?: number }[];
}

export interface Routez {
  num_routes: number;
  routes: {
    remote_id: string;
    remote_name?: string;
    in_msgs: number;
    out_msgs: number;
    in_bytes: number;
    out_bytes: number;
  }[];
}

export interface MonitorOptions {
  /** ms. Default 500. A frozen server accepts and never answers. */
  timeout?: number;
}

/** Asks one server. A channel that does not exist, and a server that does not answer, is undefined: not an exception. */
export class Monitor {
  readonly url: string;

  constructor(port: number) {
    this.url = `http://127.0.0.1:${port}`;
  }

  serverz(options?: MonitorOptions): Promise<Serverz | undefined> {
    return this.get<Serverz>('/streaming/serverz', options);
  }

  /** One channel with its subscriptions. */
  channelz(channel: string, options?: MonitorOptions): Promise<Channelz | undefined> {
    return this.get<Channelz>(`/streaming/channelsz?channel=${encodeURIComponent(channel)}&subs=1`, options);
  }

  clientsz(options?: MonitorOptions): Promise<Clientsz | undefined> {
    return this.get<Clientsz>('/streaming/clientsz?limit=100000', options);
  }

  routez(options?: MonitorOptions): Promise<Routez | undefined> {
    return this.get<Routez>('/routez', options);
  }

  /** Any monitoring path of the server, parsed. Undefined: no answer in time, or not 200. */
  get<T>(path: string, { timeout = 500 }: MonitorOptions = {}): Promise<T | undefined> {
    return new Promise((resolve) => {
      // No agent: a kept-alive socket would hang on in a process that is done.
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
      // Over the whole exchange, not only for silence on the socket.
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
