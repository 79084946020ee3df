import assert from 'node:assert/strict';
import type { Receipt } from '../../../src/connection/protocol.js';
import { Publishes } from '../../../src/connection/publishes.js';

interface Setup {
  publishes: Publishes;
  sent: Buffer[];
  told: (string | Receipt)[];
  hand: (probe?: Receipt['probe']) => Receipt;
  /** The frame with which the server answers the n-th publish. */
  answerTo: (n: number, error?: string) => string;
}

/** The second field of a PubMsg. */
const GUID = /\x12\x16([0-9A-Za-z]{22})/;

function setup(): Setup {
  const sent: Buffer[] = [];
  const told: (string | Receipt)[] = [];
  const publishes = new Publishes({
    subject: '_STAN.pub.test',
    inbox: '_STAN.acks.test',
    clientId: 'unit',
    connectionId: Buffer.from('x'.repeat(22)),
    send: (frame) => {
      sent.push(frame);
      return sent.reduce((sum, { length }) => sum + length, 0);
    },
    evidence: {
      owed: () => told.push('owed'),
      doubt: () => told.push('doubt'),
      heardAnswer: (receipt) => told.push(receipt),
    },
  });
  let number = 0;
  const hand = (probe: Receipt['probe'] = false): Receipt => {
    const receipt: Receipt = {
      number: ++number,
      at: 10 * number,
      probe,
      owed: true,
      askAfter: 10 * number,
      awaited: true,
      end: 0,
      answered: (error) => told.push(error ?? 'answered'),
    };
    publishes.publish('foo', Buffer.from('hello'), receipt);
    return receipt;
  };
  const answerTo = (n: number, error = ''): string => {
    const guid = GUID.exec((sent[n] as Buffer).toString('latin1'))?.[1] ?? '';
    const field = (tag: number, text: string): string => String.fromCharCode(tag, text.length) + text;
    return field(0x0a, guid) + (error === '' ? '' : field(0x12, error));
  };
  return { publishes, sent, told, hand, answerTo };
}

describe('Publishes', () => {
  it('says of each publish where its last byte stands in all that was sent', () => {
    const { sent, hand } = setup();
    const receipts = [hand(), hand(), hand()];
    let total = 0;
    for (const [n, { end }] of receipts.entries()) assert.equal(end, (total += (sent[n] as Buffer).length));
  });

  it('tells the watch that something is owed, and the round trip of each acknowledgement, before anybody hears of it', () => {
    const { publishes, told, hand, answerTo } = setup();
    const receipt = hand();
    assert.deepEqual(told.splice(0), ['owed']);
    publishes.answered(answerTo(0));
    assert.deepEqual(told.splice(0), [receipt, 'answered']);
    publishes.answered(answerTo(0));
    assert.deepEqual(told, [], 'one answer for each');
  });

  it('takes the answer to a probe for no sample', () => {
    const { publishes, told, hand, answerTo } = setup();
    hand('all');
    hand('channel');
    told.length = 0;
    publishes.answered(answerTo(0));
    publishes.answered(answerTo(1, 'too many channels'));
    assert.deepEqual(told, ['answered', 'too many channels']);
  });

  it('doubts a leader that answers for want of one, and believes one that refuses for another reason', () => {
    const { publishes, told, hand, answerTo } = setup();
    const [refused] = [hand(), hand(), hand()];
    told.length = 0;
    publishes.answered(answerTo(0, 'too many channels'));
    publishes.answered(answerTo(1, 'node is not the leader'));
    publishes.answered(answerTo(2, 'stan: invalid publish request'));
    assert.deepEqual(told, [
      refused,
      'too many channels',
      'doubt',
      'node is not the leader',
      'stan: invalid publish request',
    ]);
  });
});
