/**
 * Nodes for Node-RED 4: a cluster (for the settings that others share), and `stan in`, `stan ack` and `stan out`.
 *
 *     cd ~/.node-red && npm install /path/to/this/folder
 */
const { ResilientStan } = require('resilient-stan');

const YELLOW = { fill: 'yellow', shape: 'ring', text: 'no cluster' };
const GREEN = { fill: 'green', shape: 'dot', text: 'connected' };
const RED_ = { fill: 'red', shape: 'ring', text: 'closed' };

module.exports = (RED) => {
  /** The settings of a cluster, and one client for all nodes that use it. */
  function ClusterNode(config) {
    RED.nodes.createNode(this, config);
    const { user, pass } = this.credentials ?? {};
    try {
      // Flows start whether there is a cluster or not.
      this.stan = ResilientStan.create(config.servers, {
        clusterId: config.clusterId || 'test-cluster',
        clientId: config.clientId || undefined,
        ...(user && { user, pass }),
      });
    } catch (error) {
      this.error(error.message); // a setting is wrong; the nodes say so, too
      return;
    }
    this.stan.on('error', ({ error }) => this.error(error.message));
    this.stan.on('connection_lost', ({ error }) => this.warn(error.message));
    this.on('close', (done) => this.stan.close().then(done, done));
  }
  RED.nodes.registerType('stan-cluster', ClusterNode, {
    credentials: { user: { type: 'text' }, pass: { type: 'password' } },
  });

  /** The client of a node's cluster, with its state below the node. */
  function clientOf(node, config) {
    const stan = RED.nodes.getNode(config.cluster)?.stan;
    if (stan === undefined) {
      node.status({ ...RED_, text: 'no settings' });
      node.error('Its cluster is not set, or has wrong settings.');
      return undefined;
    }
    const show = () => {
      if (stan.state === 'connected') node.status(GREEN);
      else node.status(stan.state === 'closed' ? RED_ : YELLOW);
    };
    stan.on('state', show);
    node.on('close', () => stan.off('state', show));
    show();
    return stan;
  }

  /** Messages that have no acknowledgement yet, by the ID of their node and their number. */
  const open = new Map();

  function InNode(config) {
    RED.nodes.createNode(this, config);
    const stan = clientOf(this, config);
    if (stan === undefined) return;
    const keys = new Set();
    const receive = (message) => {
      const { sequence, channel, timestamp, redelivered } = message;
      const key = `${this.id}:${sequence}`;
      const msg = { topic: channel, stan: { key, sequence, timestamp, redelivered } };
      try {
        msg.payload =
          config.format === 'json' ? message.json() : config.format === 'buffer' ? message.data : message.string();
      } catch (error) {
        this.error(error.message, { ...msg, payload: message.data }); // to a catch node; it would be no better the next time
        message.ack();
        return;
      }
      if (config.ack) {
        keys.add(key);
        open.set(key, () => {
          keys.delete(key);
          message.ack();
        });
      }
      this.send(msg);
      if (!config.ack) message.ack();
    };
    const subscription = stan.subscribe(config.channel, receive, {
      startAt: config.startAt || 'new',
      manualAck: true,
      ...(config.durableName && { durableName: config.durableName }),
      ...(config.queueGroup && { queueGroup: config.queueGroup }),
      ...(config.ackWait && { ackWait: Number(config.ackWait) }),
      ...(config.maxInFlight && { maxInFlight: Number(config.maxInFlight) }),
    });
    subscription.then(
      (made) => {
        made.on('gap', ({ from, to }) => this.warn(`messages ${from} to ${to} are not stored any more`));
      },
      (error) => {
        if (stan.state === 'closing' || stan.state === 'closed') return;
        this.status({ ...RED_, text: error.code });
        this.error(error.message);
      },
    );
    this.on('close', (done) => {
      for (const key of keys) open.delete(key);
      // The client may be closed before or after; a durable is kept.
      subscription
        .then((made) => made.close())
        .then(
          () => done(),
          () => done(),
        );
    });
  }
  RED.nodes.registerType('stan in', InNode);

  /** Acknowledges a message at the end of a flow. What gets here no more comes again after ackWait. */
  function AckNode(config) {
    RED.nodes.createNode(this, config);
    this.on('input', (msg, send, done) => {
      const key = msg.stan?.key;
      if (key === undefined) return done(new Error('msg.stan is not what the node "stan in" has set.'));
      open.get(key)?.();
      open.delete(key);
      send(msg);
      done();
    });
  }
  RED.nodes.registerType('stan ack', AckNode);

  /** It is done when the cluster has the message, so a complete node behind it can be relied on. */
  function OutNode(config) {
    RED.nodes.createNode(this, config);
    const stan = clientOf(this, config);
    if (stan === undefined) return;
    this.on('input', (msg, send, done) => {
      const { payload } = msg;
      const data = typeof payload === 'string' || payload instanceof Uint8Array ? payload : JSON.stringify(payload);
      stan.publish(config.channel || msg.topic, data, config.timeout ? { timeout: Number(config.timeout) } : {}).then(
        ({ guid }) => {
          send({ ...msg, guid });
          done();
        },
        (error) => done(error), // to a catch node; msg.error.source tells which node, error.delivery what is known
      );
    });
  }
  RED.nodes.registerType('stan out', OutNode);
};
