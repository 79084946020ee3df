/** The JetStream side of a migration, as tests look at it: with the official client, and past all code of ours. */
import { jetstream, jetstreamManager, type JetStreamClient, type JetStreamManager } from '@nats-io/jetstream';
import { connect, headers, type NatsConnection } from '@nats-io/transport-node';
import type { ResilientStan } from '../../src/index.js';
import { streamName } from '../../src/migrate/index.js';
import { formatTimestamp } from '../../src/migrate/stan-headers.js';
import { until } from './clients.js';

export interface Delivered {
  sequence: number;
  text: string;
}

export class JetStreamSide {
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  readonly jetstream: JetStreamClient;

  private constructor(connection: NatsConnection, manager: JetStreamManager) {
    this.connection = connection;
    this.manager = manager;
    this.jetstream = jetstream(connection);
  }

  static async open(servers: string | string[]): Promise<JetStreamSide> {
    const connection = await connect({ servers });
    let manager: JetStreamManager | undefined;
    // JetStream of a cluster has no leader at first, and says that it is not there.
    await until(
      async () => (manager = await jetstreamManager(connection).catch(() => undefined)) !== undefined,
      'there is no JetStream',
    );
    return new JetStreamSide(connection, manager!);
  }

  /** Makes the stream of a channel, and copies messages into it. The copy of the library has tests of its own. */
  async copy(stan: ResilientStan, channel: string, { to = Infinity } = {}): Promise<void> {
    const name = streamName(channel);
    const exists = await this.manager.streams.info(name).then(
      ({ state }) => state.last_seq,
      () => undefined,
    );
    let acks: Promise<unknown>[] = [];
    let next = exists === undefined ? undefined : exists + 1;
    const last = Math.min(to, await stan.lastSequence(channel));
    if (exists === undefined) await this.manager.streams.add({ name, subjects: [channel] });
    if ((next ?? 1) > last) return;
    for await (const message of stan.read(channel, { from: next ?? 1, to: last })) {
      if (next === undefined && message.sequence > 1) await this.manager.streams.purge(name, { seq: message.sequence });
      next = message.sequence + 1;
      const carried = headers();
      carried.set('Stan-Sequence', String(message.sequence));
      carried.set('Stan-Timestamp', formatTimestamp(message.timestampNanos));
      acks.push(this.jetstream.publish(channel, message.data, { headers: carried }));
      if (acks.length === 500) acks = [void (await Promise.all(acks))] as never;
    }
    await Promise.all(acks);
  }

  /** Takes what a consumer delivers until nothing is left, and acknowledges it. */
  async drain(channel: string, consumer: string, limit = Infinity): Promise<Delivered[]> {
    const pull = await this.jetstream.consumers.get(streamName(channel), consumer);
    const got: Delivered[] = [];
    while (got.length < limit) {
      const { num_pending, num_ack_pending } = await pull.info();
      if (num_pending + num_ack_pending === 0) break;
      const batch = await pull.fetch({
        max_messages: Math.min(1000, limit - got.length, num_pending + num_ack_pending),
        expires: 2000,
      });
      for await (const message of batch) {
        got.push({ sequence: message.seq, text: message.string() });
        await message.ackAck();
      }
    }
    return got;
  }

  async close(): Promise<void> {
    await this.connection.close();
  }
}
