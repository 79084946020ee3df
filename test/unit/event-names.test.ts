/** A mistyped name of an event: it does not compile, and without types it is refused with the name that was meant. */
import assert from 'node:assert/strict';
import events from 'node:events';
import { InvalidArgumentError, ResilientStan, type ResilientSubscription } from '../../src/index.js';
import { SafeEmitter } from '../../src/emitter.js';
import { ResilientSubscription as Subscription } from '../../src/subscribing/subscription.js';

const subscriptionOf = (): ResilientSubscription =>
  Subscription.of(
    {
      channel: 'c',
      lastSequence: 0,
      follower: undefined,
      lag: () => Promise.resolve(0),
      caughtUp: () => Promise.resolve(),
      close: () => Promise.resolve(),
      unsubscribe: () => Promise.resolve(),
    },
    () => undefined,
  );

/** What Node's own tools take it for. */
const nodes = (emitter: unknown): events.EventEmitter => emitter as events.EventEmitter;

describe('the name of an event', () => {
  let stan: ResilientStan;
  let subscription: ResilientSubscription;
  beforeEach(() => {
    stan = ResilientStan.create('nats://127.0.0.1:1');
    subscription = subscriptionOf();
  });
  afterEach(() => stan.close({ timeout: 0 }));

  const refused = (call: () => unknown, message: RegExp): void => {
    assert.throws(call, (error: unknown) => {
      assert.ok(error instanceof InvalidArgumentError, String(error));
      assert.equal(error.argument, 'event');
      assert.match(error.message, message);
      return true;
    });
  };

  it('that is mistyped is refused by every method that takes one, with the nearest name', () => {
    const hear = (): void => undefined;
    // @ts-expect-error there is no such event
    refused(() => stan.on('recconect', hear), /a client has no event .recconect.: did you mean 'reconnect'\?/);
    // @ts-expect-error there is no such event
    refused(() => stan.once('connection-lost', hear), /'connection_lost'/);
    // @ts-expect-error there is no such event
    refused(() => stan.addListener('colse', hear), /'close'/);
    // @ts-expect-error there is no such event
    refused(() => stan.off('reconnecting ', hear), /'reconnecting'/);
    // @ts-expect-error there is no such event
    refused(() => stan.removeListener('errror'), /'error'/);
    // @ts-expect-error there is no such event
    refused(() => stan.removeAllListeners('stat'), /'state'/);
    // @ts-expect-error there is no such event
    refused(() => subscription.on('handlererror', hear), /a subscription has no event .*'handler_error'/);
    // @ts-expect-error there is no such event
    refused(() => subscription.once('gaap', hear), /'gap'/);
    // @ts-expect-error there is no such event
    refused(() => stan.read('c').on('gaap', hear), /a read has no event .*'gap'/);
    assert.deepEqual(stan.eventNames(), []);
    assert.deepEqual(subscription.eventNames(), []);
  });

  it('of another class or library is refused with what is here', () => {
    // @ts-expect-error there is no such event
    refused(() => stan.on('disconnect', () => undefined), /'connection_lost'/);
    // @ts-expect-error there is no such event
    refused(() => stan.on('message', () => undefined), /handler of subscribe\(\)/);
    // @ts-expect-error there is no such event
    refused(() => subscription.on('message', () => undefined), /handler of subscribe\(\)/);
    // @ts-expect-error there is no such event
    refused(() => stan.read('c').on('end', () => undefined), /iteration ends when all is read/);
    // @ts-expect-error there is no such event
    refused(() => stan.on('closed', () => undefined), /event of a subscription/);
    // @ts-expect-error there is no such event
    refused(() => subscription.on('close', () => undefined), /'closed'/);
  });

  it('of a read is refused as well', () => {
    const reader = stan.read('orders');
    // @ts-expect-error there is no such event
    refused(() => reader.on('gaps', () => undefined), /a read has no event .gaps.: did you mean 'gap'\?/);
    // @ts-expect-error there is no such event
    refused(() => reader.once('message', () => undefined), /by iteration/);
    // @ts-expect-error there is no such event
    refused(() => reader.on('whatever', () => undefined), /it has gap/);
    reader.on('gap', () => undefined);
  });

  it('that nothing is like is refused with all that there are, and so is what is no name', () => {
    // @ts-expect-error there is no such event
    refused(() => stan.on('whatever', () => undefined), /it has connecting, session, connect, connection_lost, /);
    // @ts-expect-error there is no such event
    refused(() => stan.on('toString', () => undefined), /no event/);
    // @ts-expect-error no name
    refused(() => stan.on(undefined, () => undefined), /no event undefined/);
    // @ts-expect-error no name
    refused(() => stan.on(Symbol('x'), () => undefined), /Symbol\(x\)/);
  });

  it('leaves alone the tools of Node, which listen to error on every emitter', async () => {
    const ready = events.once(nodes(subscription), 'ready');
    subscription.emit('ready', { subscription });
    assert.deepEqual(await ready, [{ subscription }]);
    const closed = events.once(nodes(stan), 'close');
    await stan.close({ timeout: 0 });
    assert.deepEqual(await closed, [{}]);
    await assert.rejects(events.once(nodes(stan), 'colse'), InvalidArgumentError);
  });

  it('is not checked where none are known', () => {
    assert.doesNotThrow(() => new SafeEmitter().on('anything', () => undefined));
  });

  it('takes any number of listeners: the limits of Node do nothing, and do no harm', () => {
    assert.equal(stan.setMaxListeners(1), stan);
    events.setMaxListeners(1, nodes(stan));
    for (let i = 0; i < 20; i++) stan.on('error', () => undefined);
    assert.equal(stan.listenerCount('error'), 20);
    assert.equal(stan.getMaxListeners(), Infinity);
  });

  it('and the properties of its object are typed', () => {
    // @ts-expect-error there is no such property
    stan.on('reconnect', ({ downTime }) => void downTime);
    // @ts-expect-error there is no such property
    subscription.on('gap', ({ first }) => void first);
  });
});
