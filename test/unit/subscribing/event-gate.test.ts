/** The async context in which listeners of a subscription are called, on a scripted server in virtual time. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import type { SubscriptionEvents } from '../../../src/subscribing/subscription.js';
import { Subscriptions } from '../../../src/subscribing/subscriptions.js';
import { ModelServer, modelTime, subscribeOptions, TELLER } from '../../support/scripted-subscriptions.js';

const EVENTS = ['ready', 'caught_up', 'handler_error', 'gap', 'reset', 'dead_letter', 'closed'] as const;

describe('the listeners of a subscription', () => {
  it('are called in the async context of its subscribe(), whatever event it is', async () => {
    const context = new AsyncLocalStorage<string>();
    const time = modelTime();
    const server = new ModelServer(time);
    const subscriptions = new Subscriptions({
      teller: TELLER,
      clock: time.clock,
      onError: (error) => assert.fail(error),
    });
    for (let i = 0; i < 5; i++) server.publish('x');
    const seen = new Map<keyof SubscriptionEvents, Set<unknown>>();
    await context.run('subscribe', async () => {
      const options = subscribeOptions({ startAt: 'first', maxDeliveries: 1, ackWait: 1000 });
      const fails = (): never => {
        throw new Error('mine');
      };
      void subscriptions.subscribe('foo', fails, options, (subscription) => {
        for (const event of EVENTS) {
          subscription.on(event, () => {
            if (!seen.has(event)) seen.set(event, new Set());
            seen.get(event)!.add(context.getStore());
          });
        }
      });
    });
    await context.run('connect', async () => {
      const session = server.connect();
      void subscriptions.attach(session);
      await time.pass(2000);
      session.loseMessages = 3;
      for (let i = 0; i < 3; i++) server.publish('x');
      await time.pass(10);
      server.truncate(8);
      server.publish('x');
      await time.pass(10_000);
      server.reset();
      server.publish('new');
      session.kill();
      subscriptions.detach();
      void subscriptions.attach(server.connect());
      await time.pass(30_000);
    });
    context.run('close', () => subscriptions.close());
    assert.deepEqual([...seen.keys()].sort(), [...EVENTS].sort());
    for (const [event, contexts] of seen) assert.deepEqual([...contexts], ['subscribe'], event);
  });
});
