/** Which text of node-nats-streaming stands for which error of this library. */
import assert from 'node:assert/strict';
import { ConnectError, SubscribeError } from '../../src/errors.js';
import { connectError, subscribeError } from '../../src/stan/errors.js';

describe('errors of node-nats-streaming', () => {
  it('a duplicate durable is known by its field, and other refusals keep their words', () => {
    const duplicate = new SubscribeError('a', 'in use', { durableInUse: true });
    assert.equal(subscribeError(duplicate).message, 'stan: duplicate durable registration');
    assert.equal(subscribeError(new SubscribeError('a', 'refused')).message, 'refused');
  });

  it('whether a server was reached is known by its field, and not by its words', () => {
    const failed = (reached: boolean): ConnectError => {
      const reason = 'no answer to the connect request within 2000 ms';
      return new ConnectError(reason, [{ server: 'nats://a:1', reason, error: new Error(reason), reached }]);
    };
    assert.equal(connectError(failed(true)).message, 'stan: connect request timeout');
    assert.equal(connectError(failed(false)).code, 'CONN_ERR');
  });
});
