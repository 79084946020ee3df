/**
 * node-nats-streaming as it is, through the same verification:
 *
 *     npx resilient-stan verify --client examples/raw-adapter.mjs
 *
 * It runs with its best settings: reconnecting for ever, pings often enough to notice, messages acknowledged when their
 * handler is through. An adapter for another client looks like this one.
 *
 * @typedef {import('resilient-stan/testing').ClientAdapter} ClientAdapter
 */
import { connect as connectStan } from 'node-nats-streaming';

/** @type {ClientAdapter} */
const adapter = {
  name: 'node-nats-streaming',
  version: '0.3.2',

  async connect({ servers, clusterId, connectOptions, clientId, ordering, tell }) {
    const stan = connectStan(clusterId, clientId, {
      ...connectOptions,
      // With `servers` alone, it would dial localhost:4222 first.
      url: servers[0],
      servers,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
      stanPingInterval: 1000,
      stanMaxPingOut: 3,
    });
    await new Promise((resolve, reject) => stan.once('connect', resolve).once('error', reject));
    let closing = false;
    stan.on('error', (error) => tell('error', String(error)));
    stan.on('disconnect', () => closing || tell('loss', 'disconnect'));
    stan.on('reconnect', () => tell('reconnect'));
    stan.on('connection_lost', (error) => tell('closed', `connection_lost: ${error}`));

    const publish = (channel, data) =>
      new Promise((resolve, reject) => stan.publish(channel, data, (error) => (error ? reject(error) : resolve())));
    let last = Promise.resolve();
    /** In their order: the next one when the one before is through. */
    const publishInOrder = (channel, data) => {
      const ours = last.then(() => publish(channel, data));
      last = ours.catch(() => {});
      return ours;
    };

    return {
      publish: ordering === 'strict' ? publishInOrder : publish,
      async subscribe(channel, handler, { durableName, queueGroup, ackWait, maxInFlight }) {
        const options = stan.subscriptionOptions().setDeliverAllAvailable().setManualAckMode(true);
        if (ackWait !== undefined) options.setAckWait(ackWait);
        if (maxInFlight !== undefined) options.setMaxInFlight(maxInFlight);
        if (durableName !== undefined) options.setDurableName(durableName);
        const subscription =
          queueGroup === undefined ? stan.subscribe(channel, options) : stan.subscribe(channel, queueGroup, options);
        subscription.on('message', (message) => {
          try {
            handler({ sequence: message.getSequence(), data: message.getRawData() });
          } catch {
            return; // not acknowledged: the server sends it again after ackWait
          }
          message.ack();
        });
        await new Promise((resolve, reject) => subscription.once('ready', resolve).once('error', reject));
      },
      close: () =>
        new Promise((resolve) => {
          closing = true;
          stan.once('close', resolve);
          stan.close();
        }),
    };
  },
};
export default adapter;
