/**
 * NestJS 11: a transport for microservices, with a server (`StanServer`) for `@EventPattern` and `@MessagePattern`, and a client
 * (`StanClientProxy`) for `emit()` and `send()`. These two classes and `StanContext` are the part to copy; below them stands an
 * application that uses them.
 *
 *     npm install @nestjs/common @nestjs/core @nestjs/microservices reflect-metadata rxjs
 *     npx tsx nestjs.ts
 *     curl -i http://localhost:3000/orders/1
 *
 * It needs "experimentalDecorators": true in tsconfig.json, as every project with NestJS has it.
 * From the environment: STAN_SERVERS (nats://localhost:4222), STAN_CLUSTER_ID (test-cluster), COUNT (100).
 */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Controller, Inject, Injectable, Module, type OnApplicationShutdown } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  BaseRpcContext,
  ClientProxy,
  ClientsModule,
  Ctx,
  EventPattern,
  MessagePattern,
  Payload,
  RpcException,
  Server,
  type CustomTransportStrategy,
  type ReadPacket,
  type WritePacket,
} from '@nestjs/microservices';
import { ResilientStan, type ConnectOptions, type StanMessage, type SubscribeOptions } from 'resilient-stan';
import { firstValueFrom, isObservable, lastValueFrom } from 'rxjs';

export interface StanOptions extends ConnectOptions {
  servers: string | string[];
  /** Name of the queue group and of its durable. All instances of a service have the same one. */
  queueGroup?: string;
  /** How messages are handled: `concurrency`, `ackWait`, `retry`, `deadLetter` … */
  subscribe?: Omit<SubscribeOptions, 'queueGroup' | 'durableName' | 'manualAck'>;
}

/** What a handler gets by `@Ctx()`. */
export class StanContext extends BaseRpcContext<[StanMessage]> {
  get message(): StanMessage {
    return this.getArgs()[0];
  }
}

/** A request carries where its answer goes. An event carries no ID. */
interface Envelope {
  pattern?: unknown;
  data: unknown;
  id?: string;
  replyTo?: string;
}

/** NestJS turns errors of a request into what is sent to the caller; those of an event have to reach us. */
const rejected = async (result: unknown): Promise<unknown> =>
  isObservable(result) ? await lastValueFrom(result, { defaultValue: undefined }) : await result;

export class StanServer extends Server implements CustomTransportStrategy {
  readonly #options: StanOptions;
  #stan: ResilientStan | undefined;

  constructor(options: StanOptions) {
    super();
    this.#options = options;
    this.initializeSerializer({});
    this.initializeDeserializer({});
  }

  /** Calls back when all subscriptions are made. In an outage that is when it is over. */
  listen(callback: (error?: unknown) => void): void {
    this.#listen().then(() => callback(), callback);
  }

  async #listen(): Promise<void> {
    const { servers, queueGroup = 'nest', subscribe, ...options } = this.#options;
    const stan = ResilientStan.create(servers, options);
    this.#stan = stan;
    stan.on('error', ({ error }) => void this.logger.error(error));
    stan.on('handler_error', ({ error }) => void this.logger.error(error));
    void stan.closed().then((reason) => void (reason && this.logger.error(reason)));
    await Promise.all(
      [...this.messageHandlers.keys()].map((pattern) =>
        stan.subscribe(pattern, (message) => this.#handle(stan, pattern, message), {
          startAt: 'first',
          ...subscribe,
          queueGroup,
          durableName: queueGroup,
        }),
      ),
    );
  }

  /** The message is acknowledged when this resolves, so an event whose handler fails comes again. */
  async #handle(stan: ResilientStan, pattern: string, message: StanMessage): Promise<void> {
    const { data, id, replyTo } = message.json<Envelope>();
    const handler = this.messageHandlers.get(pattern)!;
    const context = new StanContext([message]);
    if (id === undefined || replyTo === undefined) {
      await rejected(await handler(data, context));
      return;
    }
    const answers: Promise<unknown>[] = [];
    await new Promise<void>((resolve) => {
      void (async () => this.transformToObservable(await handler(data, context)))()
        .catch((error: unknown) => this.transformToObservable(Promise.reject(error as Error)))
        .then((results) => {
          this.send(results, (packet) => {
            const answer = { ...packet, id, err: describe(packet.err) };
            answers.push(stan.publish(replyTo, JSON.stringify(answer)));
            if (packet.isDisposed) resolve();
          });
        });
    });
    await Promise.all(answers);
  }

  /** Running handlers finish; what is not begun goes to another instance. */
  async close(): Promise<void> {
    await this.#stan?.close();
  }

  on(): never {
    throw new Error('Use unwrap(), and listen to the client itself.');
  }

  /** The client, for its events, `stats()` and `health()`. */
  unwrap<T = ResilientStan>(): T {
    if (this.#stan === undefined) throw new Error('There is no client before listen().');
    return this.#stan as T;
  }
}

/** An Error would be `{}` in JSON. */
const describe = (error: unknown): unknown =>
  error instanceof Error ? { status: 'error', message: error.message } : error;

export class StanClientProxy extends ClientProxy {
  readonly #stan: ResilientStan;
  /** Where answers to this process go. It is a channel of its own, which nobody else reads. */
  readonly #inbox = `nest.replies.${randomUUID()}`;
  #answers: Promise<unknown> | undefined;

  constructor({ servers, queueGroup: _group, subscribe: _subscribe, ...options }: StanOptions) {
    super();
    this.initializeSerializer({});
    this.initializeDeserializer({});
    this.#stan = ResilientStan.create(servers, options);
  }

  /** Nothing waits for a connection, because publishes wait by themselves. */
  async connect(): Promise<ResilientStan> {
    return this.#stan;
  }

  async close(): Promise<void> {
    await this.#stan.close();
  }

  unwrap<T = ResilientStan>(): T {
    return this.#stan as T;
  }

  /** An event. The observable of `emit()` completes when the cluster has stored it. */
  protected async dispatchEvent<T>({ pattern, data }: ReadPacket<unknown>): Promise<T> {
    return (await this.#stan.publish(this.normalizePattern(pattern as string), JSON.stringify({ data }))) as T;
  }

  /** A request. It is stored like an event, so it is answered also if the service is down for a while; `timeout()` of RxJS limits that. */
  protected publish(packet: ReadPacket, callback: (packet: WritePacket) => void): () => void {
    const { id, pattern, data } = this.assignPacketId(packet) as { id: string; pattern: string; data: unknown };
    this.routingMap.set(id, callback);
    this.#request(this.normalizePattern(pattern), { data, id, replyTo: this.#inbox }).catch((err: unknown) => {
      if (this.routingMap.delete(id)) callback({ err });
    });
    return () => this.routingMap.delete(id);
  }

  async #request(channel: string, envelope: Envelope): Promise<void> {
    this.#answers ??= this.#stan.subscribe(this.#inbox, (message) => {
      const { id, ...answer } = message.json<WritePacket & { id: string }>();
      const callback = this.routingMap.get(id);
      if (answer.isDisposed || answer.err) this.routingMap.delete(id);
      callback?.(answer); // nobody waits any more for one that comes twice
    });
    await this.#answers;
    await this.#stan.publish(channel, JSON.stringify(envelope));
  }
}

// ── an application ────────────────────────────────────────────────────────────────────────────────────────────────

const {
  STAN_SERVERS: servers = 'nats://localhost:4222',
  STAN_CLUSTER_ID: clusterId = 'test-cluster',
  COUNT = '100',
} = process.env;

@Controller()
class Orders {
  readonly #seen = new Set<number>();

  @EventPattern('orders.placed')
  placed(@Payload() { id }: { id: number }, @Ctx() { message }: StanContext): void {
    if (id % 10 === 0 && message.redeliveryCount === 0) throw new Error(`order ${id} fails at first`);
    if (!this.#seen.has(id)) console.log(`order ${id} is placed`);
    this.#seen.add(id); // it may be stored twice
  }

  @MessagePattern('orders.price')
  price(@Payload() { amount }: { amount: number }): number {
    if (amount < 0) throw new RpcException('no such amount'); // of any other error a caller is told nothing
    return amount * 3;
  }
}

@Injectable()
class Shop implements OnApplicationShutdown {
  constructor(@Inject('STAN') readonly stan: ClientProxy) {}

  async run(): Promise<void> {
    for (let id = 1; id <= Number(COUNT); id++) {
      await lastValueFrom(this.stan.emit('orders.placed', { id }));
      await sleep(20);
    }
    console.log(`price ${await firstValueFrom(this.stan.send<number>('orders.price', { amount: 5 }))}`);
    await firstValueFrom(this.stan.send('orders.price', { amount: -1 })).catch((error: { message: string }) => {
      console.log(`no price: ${error.message}`);
    });
  }

  async onApplicationShutdown(): Promise<void> {
    await this.stan.close();
  }
}

@Module({
  imports: [
    ClientsModule.register([
      { name: 'STAN', customClass: StanClientProxy, options: { servers, clusterId, clientId: 'shop-1' } },
    ]),
  ],
  controllers: [Orders],
  providers: [Shop],
})
class App {}

async function main(): Promise<void> {
  const strategy = new StanServer({
    servers,
    clusterId,
    clientId: 'orders-1',
    queueGroup: 'orders',
    subscribe: { concurrency: 10, retry: {} },
  });
  const app = await NestFactory.createMicroservice(App, { strategy, logger: false });
  app.enableShutdownHooks(); // SIGTERM closes both clients
  await app.listen();
  console.log('The service is ready.');
  await app.get(Shop).run();
  console.log('All are told.');
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
