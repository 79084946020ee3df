/**
 * The nodes for Node-RED on a stand-in for its runtime, which is too large to be installed for the tests: it makes nodes, gives them
 * messages, and hears what they say, by the same calls. `scripts/dependants/node-red.mjs` starts a real Node-RED with them.
 */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ResilientStan } from '../../src/index.js';
import { StanCluster, waitFor, type StanNode } from '../../src/testing/index.js';
import { ROOT } from '../support/copied.js';

const DIR = join(ROOT, 'examples/frameworks/node-red');
const PATIENCE = 30_000;

interface Msg {
  payload?: unknown;
  topic?: string;
  guid?: string;
  stan?: { key: string; sequence: number; redelivered: boolean };
}
type Config = Record<string, unknown>;

/** A node of a flow. What it sends goes into a list. */
class FlowNode extends EventEmitter {
  id: unknown;
  credentials: unknown;
  readonly sent: Msg[] = [];
  readonly said: string[] = [];
  shows: string | undefined;

  send(msg: Msg): void {
    this.sent.push(msg);
  }
  status({ text }: { text: string }): void {
    this.shows = text;
  }
  error(text: string): void {
    this.said.push(text);
  }
  warn(text: string): void {
    this.said.push(text);
  }
  /** What a wire to it does. Resolves when the node is done with the message. */
  input(msg: Msg): Promise<void> {
    return new Promise((resolve, reject) => {
      const send = (out: Msg): void => this.send(out);
      this.emit('input', msg, send, (error?: Error) => (error ? reject(error) : resolve()));
    });
  }
  async close(): Promise<void> {
    for (const listener of this.listeners('close') as ((done?: () => void) => void)[]) {
      // The runtime waits for those that take a function to call.
      if (listener.length === 0) listener.call(this);
      else await new Promise<void>((done) => listener.call(this, done));
    }
  }
}

/** What of the runtime the nodes use. */
class Runtime {
  readonly #types = new Map<string, (this: FlowNode, config: Config) => void>();
  readonly #nodes = new Map<string, FlowNode>();
  readonly nodes = {
    registerType: (type: string, make: (this: FlowNode, config: Config) => void): void =>
      void this.#types.set(type, make),
    createNode: (node: FlowNode, { id, credentials }: Config): void => void Object.assign(node, { id, credentials }),
    getNode: (id: string): FlowNode | undefined => this.#nodes.get(id),
  };

  get types(): string[] {
    return [...this.#types.keys()];
  }

  make(type: string, config: Config): FlowNode {
    const node = new FlowNode();
    this.#nodes.set(String(config['id']), node);
    this.#types.get(type)!.call(node, config);
    return node;
  }

  /** As when a flow is deployed anew. */
  async stop(): Promise<void> {
    for (const node of this.#nodes.values()) await node.close();
    this.#nodes.clear();
  }
}

describe('the nodes for Node-RED', function () {
  this.timeout(60_000);
  let cluster: StanCluster;
  let server: StanNode;
  let stan: ResilientStan;
  let runtime: Runtime;

  before(async () => {
    cluster = await StanCluster.start({ mode: 'single' });
    server = cluster.nodes[0]!;
    stan = await ResilientStan.connect(cluster.urls, cluster.connectOptions);
  });
  after(async () => {
    await stan?.close();
    await cluster?.stop();
  });
  beforeEach(() => {
    runtime = new Runtime();
    const load = createRequire(import.meta.url)(join(DIR, 'resilient-stan.js')) as (runtime: Runtime) => void;
    load(runtime);
  });
  afterEach(() => runtime.stop());

  const makeCluster = (config: Config = {}): FlowNode =>
    runtime.make('stan-cluster', {
      id: 'cluster',
      servers: cluster.urls.join(),
      clusterId: cluster.clusterId,
      ...config,
    });
  const sees = (what: string, holds: () => boolean): Promise<unknown> =>
    waitFor(() => holds() || undefined, { timeout: PATIENCE, what: () => what });

  it('have a form for each of their settings', () => {
    const script = readFileSync(join(DIR, 'resilient-stan.js'), 'utf8');
    const html = readFileSync(join(DIR, 'resilient-stan.html'), 'utf8');
    for (const type of runtime.types) {
      const [, form] = new RegExp(`registerType\\('${type}', \\{(.*?)\\n  \\}\\);`, 's').exec(html)!;
      const template = new RegExp(`data-template-name="${type}">(.*?)</script>`, 's').exec(html)![1]!;
      const fields = [...form!.matchAll(/^ {6}(\w+): \{/gm)].map(([, name]) => name!);
      const inline = /defaults: \{ (\w+):/.exec(form!)?.[1];
      for (const name of inline === undefined ? fields : [inline]) {
        assert.match(template, new RegExp(`id="node-(config-)?input-${name}"`), `${type}: no field for ${name}`);
      }
    }
    const settings = [...script.matchAll(/\bconfig\.(\w+)/g)].map(([, name]) => name!);
    for (const name of settings) assert.match(html, new RegExp(`\\b${name}: \\{`), `no setting ${name}`);
    const { 'node-red': entry } = JSON.parse(readFileSync(join(DIR, 'package.json'), 'utf8')) as {
      'node-red': { nodes: Record<string, string> };
    };
    assert.deepEqual(Object.values(entry.nodes), ['resilient-stan.js']);
  });

  it('publish, receive and acknowledge; what is not acknowledged comes again; an outage is waited out', async () => {
    await server.kill();
    makeCluster({ clientId: 'flows' });
    const config = { cluster: 'cluster', channel: 'flow' };
    const out = runtime.make('stan out', { id: 'out', ...config });
    const settings = { ...config, format: 'json', startAt: 'first', durableName: 'flow', ack: true, ackWait: '1000' };
    const input = runtime.make('stan in', { id: 'in', ...settings });
    const ack = runtime.make('stan ack', { id: 'ack' });
    assert.deepEqual([out.shows, input.shows], ['no cluster', 'no cluster']);
    const published = out.input({ payload: { id: 1 } });
    await server.start();
    await published;
    assert.match(out.sent[0]!.guid!, /^\w+$/);
    await sees(`it shows ${input.shows}`, () => input.shows === 'connected');

    await sees('nothing is received', () => input.sent.length === 1);
    const [first] = input.sent as [Msg];
    assert.deepEqual([first.payload, first.topic, first.stan!.sequence], [{ id: 1 }, 'flow', 1]);
    await sees('it does not come again', () => input.sent.length === 2);
    assert.equal(input.sent[1]!.stan!.redelivered, true);
    await ack.input(input.sent[1]!);
    assert.equal(ack.sent.length, 1);

    await stan.publish('flow', 'no JSON');
    await sees('no error', () => input.said.length > 0);
    assert.match(input.said[0]!, /JSON/);

    // A new flow goes on where the old one was.
    await runtime.stop();
    makeCluster({ clientId: 'flows' });
    const next = runtime.make('stan in', { id: 'in', ...settings });
    await stan.publish('flow', '3');
    await sees('nothing is received', () => next.sent.length > 0);
    assert.deepEqual(
      next.sent.map(({ payload }) => payload),
      [3],
    );
    await assert.rejects(runtime.make('stan ack', { id: 'ack' }).input({ payload: 1 }), /stan in/);
  });

  it('acknowledge by themselves, share a queue group, take the channel of a message, and say what is wrong', async () => {
    makeCluster();
    const config = { cluster: 'cluster', channel: 'shared', format: 'text', startAt: 'first', queueGroup: 'group' };
    const members = ['one', 'two'].map((id) => runtime.make('stan in', { id, ...config }));
    const out = runtime.make('stan out', { id: 'out', cluster: 'cluster' });
    for (let id = 1; id <= 20; id++) await out.input({ topic: 'shared', payload: `${id}` });
    const received = (): unknown[] => members.flatMap(({ sent }) => sent.map(({ payload }) => payload));
    await sees('not all are received', () => received().length >= 20);
    assert.equal(new Set(received()).size, 20);

    await assert.rejects(out.input({ topic: 'a wrong channel', payload: '' }), { code: 'ERR_STAN_INVALID_ARGUMENT' });
    const lost = runtime.make('stan in', { id: 'lost', cluster: 'elsewhere', channel: 'shared' });
    assert.equal(lost.shows, 'no settings');
    const wrong = runtime.make('stan-cluster', { id: 'wrong', servers: 'http://localhost' });
    assert.match(wrong.said[0]!, /http:\/\/localhost/);
  });
});
