/**
 * A fake: a NATS server and the leader of a NATS Streaming cluster in one, on loopback, by script. No real server lies,
 * answers with garbage or goes deaf on request, and that is what the tests of hostile peers need. It behaves well until a
 * hook says otherwise. It knows no limits, no acknowledgements of messages, no redelivery, no durables.
 */
import { createRequire } from 'node:module';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

const { pb } = createRequire(import.meta.url)('node-nats-streaming/lib/pb') as {
  pb: Record<string, (new () => PbMessage) & { deserializeBinary(bytes: Uint8Array): PbMessage }>;
};

/** A protobuf object of the wrapped client: setters by the names of its fields. */
interface PbMessage {
  serializeBinary(): Uint8Array;
  /** Bytes are in base64. */
  toObject(): Record<string, unknown>;
  [setter: string]: unknown;
}

export type Bytes = string | Uint8Array;

/** A message of the streaming protocol. Fields by their names in camel case, as in `{ pubPrefix: 'x' }`. */
export function encode(kind: string, fields: Record<string, unknown>): Buffer {
  const message = new pb[kind]!();
  for (const [name, value] of Object.entries(fields)) {
    (message[`set${name[0]!.toUpperCase()}${name.slice(1)}`] as (value: unknown) => void).call(message, value);
  }
  return Buffer.from(message.serializeBinary());
}

function decode(kind: string, bytes: Uint8Array): Record<string, unknown> {
  return pb[kind]!.deserializeBinary(bytes).toObject();
}

/** What a client asked for in the streaming protocol. */
export interface PeerRequest {
  readonly connection: PeerConnection;
  /** The fields of the protocol's message; bytes in base64. */
  readonly fields: Record<string, unknown>;
  /** Of a publish or a subscription; else empty. */
  readonly channel: string;
  /** Sends an answer, now or later. */
  answer(body: Bytes): void;
}

/** The requests of the streaming protocol, by what the client wants. */
export type RequestStep = 'ask' | 'connect' | 'publish' | 'subscribe' | 'unsubscribe' | 'subclose' | 'close';
/** Everything that leaves the peer. */
export type Step = RequestStep | 'info' | 'pong' | 'message';

/** Returns what goes out instead; undefined: nothing. `usual()` does, and returns, what is usual. */
type Hook<T> = (what: T, usual: () => Buffer) => Bytes | undefined;

export type PeerHooks = {
  /** The whole INFO line. */
  info?: Hook<PeerConnection>;
  /** The whole answer to a NATS PING. */
  pong?: Hook<PeerConnection>;
  /** The body of a delivered message. */
  message?: Hook<{ connection: PeerConnection; channel: string; sequence: number }>;
  /** Every frame, last of all. */
  frame?: (frame: Buffer, step: Step, connection: PeerConnection) => Bytes | undefined;
  /** A SUB line has come. */
  sub?: (subject: string, connection: PeerConnection) => void;
} & { [step in RequestStep]?: Hook<PeerRequest> };

export interface PeerOptions {
  /** Laid over its INFO. A field that is undefined is left out. */
  info?: Record<string, unknown>;
  /** With it, a client that begins a TLS handshake gets one. PEM texts. */
  tls?: { cert: string; key: string };
  hooks?: PeerHooks;
  /** Default: leads. Who does not answers NATS only. */
  leads?: boolean;
  /** NATS subscriptions of one connection, at most. A real server's limit holds for its own streaming part, too, and breaks it. */
  maxSubscriptions?: number;
  /** Another one, with whom it shares what a cluster knows: registrations, channels, subscriptions. Default: nobody. */
  clusterOf?: Peer;
}

const CLUSTER = 'test-cluster';
const NO_LONGER = 'client has been replaced or is no longer registered';
/** The first byte of a TLS handshake. */
const HANDSHAKE = 0x16;

interface Stored {
  sequence: number;
  data: Uint8Array;
  timestamp: number;
}
interface Taker {
  connection: PeerConnection;
  channel: string;
  inbox: string;
  clientId: string;
}

/** What all servers of a cluster know. */
class Cluster {
  /** Client ID -> connection ID. */
  readonly registered = new Map<string, string>();
  readonly channels = new Map<string, Stored[]>();
  readonly takers = new Set<Taker>();
  inboxes = 0;
}

export class Peer {
  readonly hooks: PeerHooks;
  readonly maxSubscriptions: number;
  /** How many NATS subscriptions were too many. */
  tooMany = 0;
  /** Whether it answers the streaming protocol. */
  leads: boolean;
  /** All that were ever accepted. */
  readonly connections: PeerConnection[] = [];
  /** What was published, refused or not, in order. */
  readonly published: { channel: string; data: string }[] = [];
  /** The connect requests of the streaming protocol. */
  readonly registrations: { clientId: string; connectionId: string; connection: PeerConnection }[] = [];
  readonly #options: PeerOptions;
  readonly #server: Server;
  readonly #cluster: Cluster;
  #stopped = false;

  private constructor(options: PeerOptions) {
    this.#options = options;
    this.hooks = options.hooks ?? {};
    this.leads = options.leads ?? true;
    this.maxSubscriptions = options.maxSubscriptions ?? Infinity;
    this.#cluster = options.clusterOf ? options.clusterOf.#cluster : new Cluster();
    this.#server = createServer({ noDelay: true }, (socket) => {
      // One that was on its way when it stopped would be waited for.
      if (this.#stopped) socket.destroy();
      else this.connections.push(new PeerConnection(this, socket, options.tls));
    });
  }

  static async listen(options: PeerOptions = {}): Promise<Peer> {
    const peer = new Peer(options);
    await new Promise<void>((resolve, reject) => {
      peer.#server.once('error', reject);
      peer.#server.listen(0, '127.0.0.1', resolve);
    });
    peer.#server.unref();
    return peer;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  get tlsUrl(): string {
    return `tls://127.0.0.1:${this.port}`;
  }

  get dials(): number {
    return this.connections.length;
  }

  /** Every CONNECT line, and whether it came encrypted. */
  get connects(): { line: string; encrypted: boolean }[] {
    return this.connections.flatMap(({ connects }) => connects);
  }

  /** All that ever came in the clear. */
  get clearText(): string {
    return this.connections.map(({ clearText }) => clearText).join('\n');
  }

  /** Takes nothing in any more on the connections there are, and says nothing; new ones are as good as ever. */
  deafen(): void {
    for (const connection of this.connections) connection.deaf = true;
  }

  /** Closes the connections there are. */
  hangUp(): void {
    for (const connection of this.connections) connection.end();
  }

  /** It is gone: nobody listens. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.hangUp();
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** The INFO line, without hooks. */
  info(): Buffer {
    const info: Record<string, unknown> = {
      server_id: `PEER${this.port}`,
      version: '2.9.24',
      proto: 1,
      host: '127.0.0.1',
      port: this.port,
      max_payload: 1024 * 1024,
      ...(this.#options.tls && { tls_required: true }),
      ...this.#options.info,
    };
    return Buffer.from(`INFO ${JSON.stringify(info)}\r\n`);
  }

  /** A PUB came. */
  take(connection: PeerConnection, subject: string, reply: string, body: Buffer): void {
    const step = stepOf(subject);
    if (step === undefined || !this.leads) return;
    const fields = step === 'connect' && body.length === 0 ? {} : decode(KINDS[step], body);
    const channel = typeof fields['subject'] === 'string' ? fields['subject'] : '';
    if (step === 'publish') {
      this.published.push({ channel, data: Buffer.from(String(fields['data']), 'base64').toString() });
    }
    if (step === 'connect') {
      const [clientId, connectionId] = [String(fields['clientId']), String(fields['connId'])];
      this.registrations.push({ clientId, connectionId, connection });
    }
    const request: PeerRequest = { connection, fields, channel, answer: (bytes) => connection.say(step, reply, bytes) };
    // What is usual may have things to send after its answer.
    const after: (() => void)[] = [];
    const usual = (): Buffer => this.#usual(step, request, after);
    const hook = this.hooks[step];
    const answer = hook ? hook(request, usual) : usual();
    if (answer !== undefined) request.answer(answer);
    for (const act of after) act();
  }

  #usual(step: RequestStep, { connection, fields, channel }: PeerRequest, after: (() => void)[]): Buffer {
    const clientId = String(fields['clientId']);
    switch (step) {
      case 'ask': {
        const known = [...this.#cluster.registered.values()].includes(String(fields['connId']));
        return encode('PingResponse', known ? {} : { error: NO_LONGER });
      }
      case 'connect':
        this.#drop(clientId);
        this.#cluster.registered.set(clientId, String(fields['connId']));
        return connectResponse();
      case 'publish': {
        if (this.#cluster.registered.get(clientId) !== String(fields['connId'])) {
          return encode('PubAck', { guid: fields['guid'], error: 'stan: invalid publish request' });
        }
        const stored = this.#store(channel, Buffer.from(String(fields['data']), 'base64'));
        after.push(() => {
          for (const taker of this.#cluster.takers) if (taker.channel === channel) this.#deliver(taker, stored);
        });
        return encode('PubAck', { guid: fields['guid'] });
      }
      case 'subscribe': {
        const taker = { connection, channel, inbox: String(fields['inbox']), clientId };
        after.push(() => {
          const from = this.#startOf(fields, channel);
          for (const stored of this.#cluster.channels.get(channel) ?? []) {
            if (stored.sequence >= from) this.#deliver(taker, stored);
          }
          this.#cluster.takers.add(taker);
        });
        return encode('SubscriptionResponse', { ackInbox: `_INBOX.acks.${++this.#cluster.inboxes}` });
      }
      case 'unsubscribe':
      case 'subclose':
        return encode('SubscriptionResponse', {});
      case 'close':
        this.#drop(clientId);
        return encode('CloseResponse', {});
    }
  }

  #startOf(fields: Record<string, unknown>, channel: string): number {
    const stored = this.#cluster.channels.get(channel) ?? [];
    const last = stored.length;
    switch (fields['startPosition']) {
      case 1:
        return last;
      case 2: {
        const since = Date.now() - Number(fields['startTimeDelta']) / 1e6;
        return stored.find(({ timestamp }) => timestamp >= since)?.sequence ?? last + 1;
      }
      case 3:
        return Math.min(Number(fields['startSequence']), last + 1);
      case 4:
        return 1;
      default:
        return last + 1;
    }
  }

  #drop(clientId: string): void {
    this.#cluster.registered.delete(clientId);
    for (const taker of this.#cluster.takers) if (taker.clientId === clientId) this.#cluster.takers.delete(taker);
  }

  #store(channel: string, data: Uint8Array): Stored {
    const channels = this.#cluster.channels.get(channel) ?? [];
    this.#cluster.channels.set(channel, channels);
    const stored = { sequence: channels.length + 1, data, timestamp: Date.now() };
    channels.push(stored);
    return stored;
  }

  #deliver({ connection, channel, inbox }: Taker, { sequence, data, timestamp }: Stored): void {
    const usual = (): Buffer =>
      encode('MsgProto', { sequence, subject: channel, data: new Uint8Array(data), timestamp: timestamp * 1e6 });
    const hook = this.hooks.message;
    const body = hook ? hook({ connection, channel, sequence }, usual) : usual();
    if (body !== undefined) connection.say('message', inbox, body);
  }

  /** The connection has ended. */
  forget(connection: PeerConnection): void {
    for (const taker of this.#cluster.takers) if (taker.connection === connection) this.#cluster.takers.delete(taker);
  }
}

const KINDS: { readonly [step in RequestStep]: string } = {
  ask: 'Ping',
  connect: 'ConnectRequest',
  publish: 'PubMsg',
  subscribe: 'SubscriptionRequest',
  unsubscribe: 'UnsubscribeRequest',
  subclose: 'UnsubscribeRequest',
  close: 'CloseRequest',
};

function stepOf(subject: string): RequestStep | undefined {
  if (subject.startsWith(`_STAN.pub.${CLUSTER}.`)) return 'publish';
  switch (subject) {
    case `_STAN.discover.${CLUSTER}.pings`:
      return 'ask';
    case `_STAN.discover.${CLUSTER}`:
      return 'connect';
    case `_STAN.sub.${CLUSTER}`:
      return 'subscribe';
    case `_STAN.unsub.${CLUSTER}`:
      return 'unsubscribe';
    case `_STAN.subclose.${CLUSTER}`:
      return 'subclose';
    case `_STAN.close.${CLUSTER}`:
      return 'close';
    default:
      return undefined;
  }
}

/** A good one, but for what is said otherwise. */
export function connectResponse(fields: Record<string, unknown> = {}): Buffer {
  return encode('ConnectResponse', {
    pubPrefix: `_STAN.pub.${CLUSTER}`,
    subRequests: `_STAN.sub.${CLUSTER}`,
    unsubRequests: `_STAN.unsub.${CLUSTER}`,
    closeRequests: `_STAN.close.${CLUSTER}`,
    subCloseRequests: `_STAN.subclose.${CLUSTER}`,
    pingRequests: `_STAN.discover.${CLUSTER}.pings`,
    pingInterval: 1,
    pingMaxOut: 3,
    protocol: 1,
    ...fields,
  });
}

/** One client's connection, as the peer sees it. */
export class PeerConnection {
  readonly connects: { line: string; encrypted: boolean }[] = [];
  /** Counts the frames that were sent: the second PONG, say. */
  readonly sent = new Map<Step, number>();
  /** Neither hears nor says anything. */
  deaf = false;
  readonly #peer: Peer;
  readonly #socket: Socket;
  #stream: Socket;
  #clear: Buffer = Buffer.alloc(0);
  #received: Buffer = Buffer.alloc(0);
  /** Subject -> its number. */
  readonly #subscriptions = new Map<string, string>();

  constructor(peer: Peer, socket: Socket, tls: PeerOptions['tls']) {
    this.#peer = peer;
    this.#socket = socket;
    this.#stream = socket;
    socket.on('error', () => {});
    socket.once('close', () => peer.forget(this));
    socket.once('data', (first: Buffer) => {
      if (tls === undefined || first[0] !== HANDSHAKE) {
        socket.on('data', (data: Buffer) => this.#read(data));
        this.#read(first);
        return;
      }
      socket.pause();
      socket.unshift(first);
      const secure = new TLSSocket(socket, { isServer: true, ...tls });
      this.#stream = secure;
      secure.on('error', () => {});
      secure.on('data', (data: Buffer) => this.#read(data));
    });
    const { info } = peer.hooks;
    this.send('info', info ? info(this, () => peer.info()) : peer.info());
  }

  get encrypted(): boolean {
    return this.#stream !== this.#socket;
  }

  get clearText(): string {
    return this.#clear.toString('latin1');
  }

  get open(): boolean {
    return !this.#socket.destroyed;
  }

  /** Sends bytes as they are. */
  raw(bytes: Bytes): void {
    if (!this.deaf && this.#stream.writable) this.#stream.write(bytes);
  }

  /** Sends the frame of a step. */
  send(step: Step, frame: Bytes | undefined): void {
    if (frame === undefined) return;
    this.sent.set(step, (this.sent.get(step) ?? 0) + 1);
    const { frame: change } = this.#peer.hooks;
    const changed = change ? change(Buffer.from(frame as Uint8Array), step, this) : frame;
    if (changed !== undefined) this.raw(changed);
  }

  /** Sends a message to whoever has subscribed to a subject here. */
  say(step: Step, subject: string, body: Bytes): void {
    const sid = this.#sidOf(subject);
    if (sid === undefined) return;
    const bytes = Buffer.from(body as Uint8Array);
    this.send(step, Buffer.concat([Buffer.from(`MSG ${subject} ${sid} ${bytes.length}\r\n`), bytes, CRLF]));
  }

  end(): void {
    this.#socket.destroy();
  }

  #sidOf(subject: string): string | undefined {
    const parent = subject.slice(0, subject.lastIndexOf('.'));
    return this.#subscriptions.get(subject) ?? this.#subscriptions.get(`${parent}.*`);
  }

  #read(data: Buffer): void {
    if (!this.encrypted) this.#clear = Buffer.concat([this.#clear, data]);
    if (this.deaf) return;
    this.#received = Buffer.concat([this.#received, data]);
    while (!this.deaf && this.open) {
      const end = this.#received.indexOf('\r\n');
      if (end < 0) return;
      const line = this.#received.toString('latin1', 0, end);
      let next = end + 2;
      const [word = '', ...rest] = line.split(' ');
      if (word === 'PUB') {
        const size = Number(rest.at(-1));
        if (this.#received.length < next + size + 2) return;
        const body = this.#received.subarray(next, next + size);
        next += size + 2;
        this.#received = this.#received.subarray(next);
        this.#peer.take(this, rest[0]!, rest.length === 3 ? rest[1]! : '', body);
        continue;
      }
      this.#received = this.#received.subarray(next);
      this.#line(word, rest, line);
    }
  }

  #line(word: string, rest: string[], line: string): void {
    switch (word) {
      case 'CONNECT':
        this.connects.push({ line, encrypted: this.encrypted });
        return;
      case 'PING': {
        const { pong } = this.#peer.hooks;
        this.send('pong', pong ? pong(this, () => PONG) : PONG);
        return;
      }
      case 'SUB':
        if (this.#subscriptions.size >= this.#peer.maxSubscriptions) {
          this.#peer.tooMany += 1;
          this.raw("-ERR 'maximum subscriptions exceeded'\r\n");
          return;
        }
        this.#subscriptions.set(rest[0]!, rest.at(-1)!);
        this.#peer.hooks.sub?.(rest[0]!, this);
        return;
      case 'UNSUB':
        // With a number behind it: after so many messages. It may stay.
        if (rest.length > 1) return;
        for (const [subject, sid] of this.#subscriptions) if (sid === rest[0]) this.#subscriptions.delete(subject);
    }
  }
}

const CRLF = Buffer.from('\r\n');
const PONG = Buffer.from('PONG\r\n');
