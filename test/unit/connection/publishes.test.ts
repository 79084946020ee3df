import assert from 'node:assert/strict';
import type { Receipt } from '../../../src/connection/protocol.js';
import { Publishes } from '../../../src/connection/publishes.js';

function setup(): { publishes: Publishes; sent: number[]; hand: (awaited: boolean) => Receipt } {
  const sent: number[] = [];
  const publishes = new Publishes({
    subject: '_STAN.pub.test',
    inbox: '_STAN.acks.test',
    clientId: 'unit',
    connectionId: Buffer.from('x'.repeat(22)),
    send: (frame) => {
      sent.push(frame.length);
      return sent.reduce((sum, length) => sum + length, 0);
    },
  });
  let number = 0;
  const hand = (awaited: boolean): Receipt => {
    const receipt = { number: ++number, awaited, end: 0, answered: () => {} };
    publishes.publish('foo', Buffer.from('hello'), receipt);
    return receipt;
  };
  return { publishes, sent, hand };
}

describe('Publishes', () => {
  it('is told of each sending where its last byte stands among all, and says so', () => {
    const { sent, hand } = setup();
    const receipts = [hand(true), hand(true), hand(true)];
    let total = 0;
    for (const [n, { end }] of receipts.entries()) assert.equal(end, (total += sent[n] as number));
  });

  it('forgets what is not awaited up to a sending, and nothing else', () => {
    const { publishes, hand } = setup();
    const [, second] = [hand(false), hand(true), hand(false), hand(false)];
    publishes.forget(second);
    assert.equal(publishes.unanswered, 3);
    publishes.forget(hand(true));
    assert.equal(publishes.unanswered, 2);
    publishes.stop();
    assert.equal(publishes.unanswered, 0);
  });
});
