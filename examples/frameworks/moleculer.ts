/**
 * moleculer 0.14: a transporter that outlives its servers. The class `ResilientStanTransporter` is the part to copy.
 *
 *     npm install moleculer
 *     npx tsx moleculer.ts service-1 service
 *     npx tsx moleculer.ts caller-1 caller
 *
 * From the environment: STAN_SERVERS (nats://localhost:4222), STAN_CLUSTER_ID (test-cluster).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ServiceBroker, Transporters } from 'moleculer';
import { ResilientStan, type ConnectOptions, type MessageHandler, type ResilientSubscription } from 'resilient-stan';

export interface TransporterOptions extends Omit<ConnectOptions, 'clientId'> {
  servers: string | string[];
}

/** What moleculer gives to a transporter; its types do not tell. */
interface Base {
  broker: { broadcastLocal(event: string, payload: object): void; fatal(message: string, error?: Error): void };
  nodeID: string;
  prefix: string;
  connected: boolean;
  onConnected(wasReconnect?: boolean): PromiseLike<void>;
  getTopicName(command: string, nodeID?: string): string;
  receive(command: string, data: Buffer): unknown;
}
const BaseTransporter = Transporters.Base as unknown as new (options: TransporterOptions) => Base;

export class ResilientStanTransporter extends BaseTransporter {
  readonly #options: TransporterOptions;
  #stan: ResilientStan | undefined;
  #balanced: Promise<ResilientSubscription>[] = [];
  hasBuiltInBalancer = true;

  constructor(options: TransporterOptions) {
    super(options);
    this.#options = options;
  }

  /** moleculer calls it again after 5 s if it rejects. */
  async connect(): Promise<void> {
    const { servers, ...options } = this.#options;
    // Client IDs have no dots, and node IDs may.
    const clientId = this.nodeID.replace(/[^\w-]/g, '_');
    const stan = await ResilientStan.connect(servers, { ...options, clientId });
    this.#stan = stan;
    // A loss is nothing to tell: what is sent meanwhile is kept, and what comes back is complete. So `connected` stays true, and
    // moleculer refuses no call. Who is not heard of for `heartbeatTimeout` is taken for dead, as ever.
    stan.on('error', ({ error }) => {
      this.broker.broadcastLocal('$transporter.error', { error, module: 'transporter', type: 'clientError' });
    });
    stan.on('close', ({ error }) => {
      this.connected = false;
      if (error) this.broker.fatal('The client of NATS Streaming has given up.', error);
    });
    await this.onConnected();
  }

  async disconnect(): Promise<void> {
    this.connected = false;
    await this.#stan?.close();
  }

  async subscribe(command: string, nodeID?: string): Promise<void> {
    await this.#client.subscribe(this.getTopicName(command, nodeID), this.#receiver(command), { concurrency: 1024 });
  }

  /** Requests to an action go to one of the nodes that have it. They are kept while there is none. */
  subscribeBalancedRequest(action: string): Promise<void> {
    return this.#subscribeBalanced('REQ', `${this.prefix}.REQB.${action}`, action);
  }

  /** Events go to one node of each group. */
  subscribeBalancedEvent(event: string, group: string): Promise<void> {
    return this.#subscribeBalanced('EVENT', `${this.prefix}.EVENTB.${group}.${event}`, group);
  }

  async unsubscribeFromBalancedCommands(): Promise<void> {
    const subscriptions = this.#balanced;
    this.#balanced = [];
    // The group is kept, with what is in it.
    await Promise.all(subscriptions.map(async (subscription) => await (await subscription).close()));
  }

  async send(topic: string, data: Buffer): Promise<void> {
    await this.#client.publish(topic, data);
  }

  get #client(): ResilientStan {
    if (this.#stan === undefined) throw new Error('The transporter is not connected.');
    return this.#stan;
  }

  async #subscribeBalanced(command: string, channel: string, queueGroup: string): Promise<void> {
    const subscription = this.#client.subscribe(channel, this.#receiver(command), {
      queueGroup,
      durableName: command,
      startAt: 'first',
      concurrency: 1024, // a service may call others, and must not wait for itself
    });
    this.#balanced.push(subscription);
    await subscription;
  }

  /** The message is acknowledged when moleculer has taken it, and not when the action is done: a call has its own answer and retries. */
  #receiver(command: string): MessageHandler {
    return (message) => void this.receive(command, message.data);
  }
}

async function main(): Promise<void> {
  const { STAN_SERVERS = 'nats://localhost:4222', STAN_CLUSTER_ID = 'test-cluster' } = process.env;
  const [nodeID = 'service-1', role = 'service'] = process.argv.slice(2);
  const broker = new ServiceBroker({
    nodeID,
    logLevel: 'warn',
    transporter: new ResilientStanTransporter({ servers: STAN_SERVERS, clusterId: STAN_CLUSTER_ID }) as never,
    requestTimeout: 30_000, // longer than an election
    heartbeatTimeout: 60, // in s: longer than an outage that is to be waited out
  });
  if (role === 'service') {
    broker.createService({
      name: 'math',
      actions: { double: ({ params }: { params: { number: number } }) => 2 * params.number },
    });
  }
  await broker.start(); // moleculer ends it at SIGINT and SIGTERM
  console.log(`The ${role} is ready.`);
  if (role !== 'caller') return;
  await broker.waitForServices('math');
  for (let number = 1; number <= 100; number++) {
    const answer: number = await broker.call('math.double', { number });
    console.log(`2 · ${number} = ${answer}`);
    await sleep(20);
  }
  await broker.stop();
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
