import { ServerNode } from '../server-node.js';
import type { ServerLogState } from '../server-log.js';

/**
 * One server of a {@link JetStreamCluster}: a plain `nats-server` with JetStream. It can be stopped, killed, frozen and wiped, and
 * started again on the same ports and with the same store.
 *
 * @example
 * ```ts
 * const node = await jetstream.leader({ stream: 'orders' });
 * await node.kill();
 * await jetstream.leader({ stream: 'orders' }); // another one leads the stream
 * await node.start();
 * await jetstream.settled();
 * ```
 * @category Cluster
 */
export class JetStreamNode extends ServerNode {
  protected override isUp(state: ServerLogState): boolean {
    return state.accepting;
  }
}
