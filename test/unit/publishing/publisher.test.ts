import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  AbortedError,
  ClosedError,
  InvalidArgumentError,
  OutboxFullError,
  PayloadTooLargeError,
  PermissionError,
  PublishRejectedError,
  PublishTimeoutError,
} from '../../../src/errors.js';
import { ScriptedSession } from '../../support/scripted-session.js';
import { ackOf, errorOf, ignore, reactions, settled, setup, type Setup } from './setup.js';

/** Answers everything that waits for an answer now. */
function answerAll(session: ScriptedSession, error?: string): void {
  for (const sending of session.awaited) session.answer(session.sendings.indexOf(sending), error);
}

describe('Publisher: handing over', () => {
  it('hands a message over within publish() when a session is there, and resolves with its ack', async () => {
    const { publisher, attach } = setup();
    const session = attach();
    const publish = publisher.publish('foo', 'hello');
    assert.deepEqual(session.texts, ['hello']);
    assert.equal(await settled(publish), 'pending');
    session.answer(0);
    assert.deepEqual(await ackOf(publish), { guid: 'guid-1-0', channel: 'foo', attempts: 1 });
  });

  it('keeps messages while there is no session, and hands them over in order when there is one', () => {
    const { publisher, attach } = setup();
    for (const text of ['1', '2', '3']) void publisher.publish(text === '2' ? 'b' : 'a', text);
    assert.deepEqual(attach().texts, ['1', '2', '3']);
  });

  it('keeps at most maxInFlight in flight, and each ack lets the next one go', () => {
    const { publisher, attach } = setup({ maxInFlight: 2 });
    const session = attach();
    for (const text of ['1', '2', '3', '4']) void publisher.publish('a', text);
    assert.deepEqual(session.texts, ['1', '2']);
    session.answer(1);
    assert.deepEqual(session.texts, ['1', '2', '3']);
    assert.equal(publisher.stats.inFlight, 2);
  });

  it('owes an answer for the oldest, and says how long each ack took', () => {
    const { publisher, attach, time } = setup();
    for (let i = 0; i < 5; i++) void publisher.publish('a', 'x');
    const session = attach();
    assert.equal(session.oldestOwed, session.sendings[0]?.receipt);
    time.advance(7);
    session.answer(0);
    time.advance(3);
    session.answer(1);
    assert.deepEqual(session.roundTrips, [7, 10]);
  });

  it('copies bytes at publish(), so that the caller may reuse his array', () => {
    const { publisher, attach } = setup();
    for (const size of [3, 5000]) {
      for (const make of [() => Buffer.alloc(size, 'a'), () => new Uint8Array(size).fill(97)]) {
        const data = make();
        void publisher.publish('a', data);
        data.fill(98);
      }
    }
    const session = attach();
    assert.deepEqual(
      session.texts,
      [3, 3, 5000, 5000].map((n) => 'a'.repeat(n)),
    );
  });

  it('hands over any text as its UTF-8, and empty payloads, too', () => {
    const { publisher, attach } = setup();
    const texts = ['', 'plain', 'grün', '日本語', '😀', 'x'.repeat(3000), '日'.repeat(3000), '\ud800'];
    for (const text of texts) void publisher.publish('a', text);
    void publisher.publish('a', new Uint8Array(0));
    const session = attach();
    assert.deepEqual(
      session.sendings.map(({ data }) => Buffer.from(data)),
      [...texts.map((text) => Buffer.from(text)), Buffer.alloc(0)],
    );
  });

  it('does nothing on a dead session, before and after its end is announced', async () => {
    const { publisher, attach, bugs } = setup();
    const session = attach();
    session.alive = false;
    const publish = publisher.publish('a', '1');
    publisher.pause();
    publisher.resume();
    publisher.probe();
    assert.deepEqual(session.texts, []);
    publisher.detach();
    assert.equal(await settled(publish), 'pending');
    assert.deepEqual(attach().texts, ['1']);
    assert.deepEqual(bugs, []);
  });

  it('copes with a session that answers while it is being called', async () => {
    const { publisher } = setup({ maxInFlight: 1 });
    const publishes = ['1', '2', '3', '4'].map((text) => publisher.publish('a', text));
    const session = new ScriptedSession();
    session.onPublish = () => session.answer(session.sendings.length - 1);
    publisher.attach(session);
    for (const publish of publishes) assert.equal((await ackOf(publish)).attempts, 1);
    assert.deepEqual(session.texts, ['1', '2', '3', '4']);
  });

  it('copes with a session that ends while it is being called, and with the next one coming at once', async () => {
    const { publisher, attach } = setup();
    const publishes = ['1', '2', '3'].map((text) => publisher.publish('a', text));
    const first = new ScriptedSession(1);
    let second: ScriptedSession | undefined;
    first.onLoss = () => {
      publisher.detach();
      second = attach(2);
    };
    first.onPublish = ({ text }) => {
      if (text === '2') first.lose('disconnect', 'test');
    };
    publisher.attach(first);
    assert.deepEqual(first.texts, ['1', '2']);
    assert.deepEqual(second?.texts, ['1', '2', '3']);
    second?.answerAll();
    assert.deepEqual(
      (await Promise.all(publishes)).map(({ attempts }) => attempts),
      [2, 2, 1],
    );
  });

  it('copes with a session that is replaced, or paused, while it is being called', () => {
    const { publisher } = setup();
    for (const text of ['1', '2', '3']) void publisher.publish('a', text);
    const first = new ScriptedSession(1);
    const second = new ScriptedSession(2);
    first.onPublish = () => publisher.attach(second);
    second.onPublish = ({ text }) => {
      if (text === '2') publisher.pause();
    };
    publisher.attach(first);
    assert.deepEqual(first.texts, ['1']);
    assert.deepEqual(second.texts, ['1', '2']);
    second.onPublish = undefined;
    publisher.resume();
    assert.deepEqual(second.texts, ['1', '2', '1']);
  });

  it('tells a session that throws to the error listener, not to the caller', async () => {
    const { publisher, attach, bugs } = setup();
    const session = attach();
    session.onPublish = () => {
      throw new Error('boom');
    };
    const publish = publisher.publish('a', '1');
    assert.equal(await settled(publish), 'pending');
    assert.equal(bugs.length, 1);
    assert.match(bugs[0]?.message ?? '', /boom/);
  });
});

describe('Publisher: strict', () => {
  it('has one message of a channel in flight at a time, and the channels side by side', () => {
    const { publisher, attach } = setup({ ordering: 'strict' });
    const session = attach();
    for (const text of ['a1', 'a2', 'b1', 'a3', 'b2']) void publisher.publish(text.charAt(0), text);
    assert.deepEqual(session.texts, ['a1', 'b1']);
    session.answer(1);
    assert.deepEqual(session.texts, ['a1', 'b1', 'b2']);
    session.answer(0);
    assert.deepEqual(session.texts, ['a1', 'b1', 'b2', 'a2']);
  });

  it('lets channels take turns when the window is smaller than their number', () => {
    const { publisher, attach } = setup({ ordering: 'strict', maxInFlight: 1 });
    for (const text of ['a1', 'a2', 'b1', 'c1']) void publisher.publish(text.charAt(0), text);
    const session = attach();
    for (let n = 0; n < 4; n++) session.answer(n);
    assert.deepEqual(session.texts, ['a1', 'b1', 'c1', 'a2']);
  });

  it('sends the unacknowledged first on the next session, in the order of publishing, over all channels', () => {
    const { publisher, attach } = setup({ ordering: 'strict' });
    const first = attach();
    for (const text of ['a1', 'b1', 'c1', 'a2', 'd1']) void publisher.publish(text.charAt(0), text);
    first.answer(0);
    assert.deepEqual(first.texts, ['a1', 'b1', 'c1', 'd1', 'a2']);
    first.lose('disconnect', 'test');
    void publisher.publish('e', 'e1');
    assert.deepEqual(attach().texts, ['b1', 'c1', 'a2', 'd1', 'e1']);
  });

  it('sends what a probe showed to be lost before what is new, in the order of publishing', () => {
    const { publisher, attach } = setup({ ordering: 'strict', maxInFlight: 3 });
    const session = attach();
    for (const text of ['a1', 'b1', 'c1', 'd1', 'a2']) void publisher.publish(text.charAt(0), text);
    publisher.pause();
    publisher.resume();
    session.answer(3);
    assert.deepEqual(session.texts, ['a1', 'b1', 'c1', 'a1', 'b1', 'c1', 'd1']);
  });

  it('goes by the order of publishing on the next session, whatever order the channels were first used in', () => {
    const { publisher, attach } = setup({ ordering: 'strict', maxInFlight: 1 });
    for (const text of ['a0', 'b0', 'c1', 'b1', 'a1']) void publisher.publish(text.charAt(0), text);
    const first = attach();
    first.answer(0);
    first.answer(1);
    assert.deepEqual(first.texts, ['a0', 'b0', 'c1']);
    first.lose('disconnect', 'test');
    const second = attach();
    second.answerAll();
    assert.deepEqual(second.texts, ['c1', 'b1', 'a1']);
  });

  it('goes on with a channel that was idle', async () => {
    const { publisher, attach } = setup({ ordering: 'strict', maxPending: 100_000 });
    const session = attach();
    session.onPublish = () => session.answer(session.sendings.length - 1);
    for (let n = 0; n < 2000; n++) await publisher.publish(`channel.${n}`, 'x');
    assert.equal(publisher.stats.acknowledged, 2000);
    publisher.detach();
    session.sendings.length = 0;
    for (let n = 0; n < 2000; n++) void publisher.publish(`channel.${n}`, `${n}`);
    const next = attach(2);
    assert.deepEqual(
      next.texts,
      Array.from({ length: 1024 }, (_, n) => `${n}`),
    );
  });
});

describe('Publisher: from one session to the next', () => {
  it('sends what is unacknowledged again, in order, then what waits', async () => {
    const { publisher, attach } = setup({ maxInFlight: 3 });
    const publishes = ['1', '2', '3', '4', '5'].map((text) => publisher.publish('a', text));
    const first = attach();
    first.answer(1);
    assert.deepEqual(first.texts, ['1', '2', '3', '4']);
    first.lose('disconnect', 'test');
    const second = attach();
    assert.deepEqual(second.texts, ['1', '3', '4']);
    second.answerAll();
    assert.deepEqual(second.texts, ['1', '3', '4', '5']);
    assert.deepEqual(
      (await Promise.all(publishes)).map(({ attempts }) => attempts),
      [2, 1, 2, 2, 1],
    );
    assert.equal(publisher.stats.resent, 3);
  });

  it('believes no answer of a session that is gone', async () => {
    const { publisher, attach } = setup();
    const publish = publisher.publish('a', '1');
    const first = attach();
    first.alive = false;
    first.answer(0);
    assert.equal(await settled(publish), 'pending');
    publisher.detach();
    const second = attach();
    first.sendings[0]?.answer(undefined, 'late');
    assert.equal(await settled(publish), 'pending');
    first.alive = true;
    first.sendings[0]?.answer(undefined, 'late');
    first.sendings[0]?.answer('stan: invalid publish request', 'late');
    assert.equal(await settled(publish), 'pending', 'not even if it still lives');
    assert.deepEqual(first.losses, []);
    second.answer(0);
    assert.deepEqual(await ackOf(publish), { guid: 'guid-2-0', channel: 'a', attempts: 2 });
    second.sendings[0]?.answer('again', 'twice');
    assert.equal(publisher.stats.acknowledged, 1);
  });
});

describe('Publisher: a suspect session', () => {
  it('hands nothing over while paused', () => {
    const { publisher, attach } = setup();
    const session = attach();
    publisher.pause();
    void publisher.publish('a', '1');
    assert.deepEqual(session.texts, []);
    publisher.resume();
    assert.deepEqual(session.texts, ['1']);
  });

  it('sends the oldest again when the leader has answered, and nothing new until that is acknowledged', async () => {
    const { publisher, attach, time } = setup();
    const session = attach();
    const one = publisher.publish('a', '1');
    const two = publisher.publish('a', '2');
    time.advance(200);
    publisher.pause();
    const three = publisher.publish('a', '3');
    publisher.resume();
    assert.deepEqual(session.texts, ['1', '2', '1']);
    assert.equal(session.oldestOwed?.at, time.now(), 'the ack that is owed now is that of the probe');
    session.answer(2);
    assert.equal((await ackOf(one)).attempts, 2);
    assert.deepEqual(
      session.texts,
      ['1', '2', '1', '2', '3'],
      'what was sent before the probe is lost, and goes first',
    );
    assert.deepEqual(session.roundTrips, [], 'the round trip of a probe is not a sample');
    session.answerAll();
    assert.deepEqual(await Promise.all([two, three].map(async (publish) => (await ackOf(publish)).attempts)), [2, 1]);
    assert.equal(publisher.stats.resent, 2);
  });

  it('takes the first ack of the probed message, too, and goes on waiting for the second', async () => {
    const { publisher, attach } = setup();
    const session = attach();
    const one = publisher.publish('a', '1');
    void publisher.publish('a', '2');
    publisher.pause();
    void publisher.publish('a', '3');
    publisher.resume();
    session.answer(0);
    assert.equal((await ackOf(one)).guid, 'guid-1-0');
    assert.deepEqual(session.texts, ['1', '2', '1']);
    session.answer(2);
    assert.deepEqual(session.texts, ['1', '2', '1', '2', '3']);
  });

  it('ends the probe when all that was in flight before it is settled: a slow leader costs one duplicate', () => {
    const { publisher, attach } = setup();
    const session = attach();
    for (const text of ['1', '2']) void publisher.publish('a', text);
    publisher.pause();
    void publisher.publish('a', '3');
    publisher.resume();
    session.answer(0);
    session.answer(1);
    assert.deepEqual(session.texts, ['1', '2', '1', '3']);
    session.answer(2);
    assert.deepEqual(session.texts, ['1', '2', '1', '3'], 'its late ack says nothing about what was sent after it');
    assert.equal(publisher.stats.resent, 1);
  });

  it('probes anew after another suspicion', () => {
    const { publisher, attach } = setup();
    const session = attach();
    for (const text of ['1', '2']) void publisher.publish('a', text);
    publisher.pause();
    publisher.resume();
    publisher.pause();
    publisher.resume();
    assert.deepEqual(session.texts, ['1', '2', '1', '1']);
    session.answer(3);
    assert.deepEqual(session.texts, ['1', '2', '1', '1', '2']);
  });

  it('sends nothing again at once when the leader has answered every question', () => {
    const { publisher, attach } = setup();
    const session = attach();
    for (const text of ['1', '2']) void publisher.publish('a', text);
    const suspect = (missed: boolean): void => {
      publisher.pause();
      publisher.resume(missed);
    };
    suspect(false);
    suspect(false);
    void publisher.publish('a', '3');
    assert.deepEqual(session.texts, ['1', '2', '3']);
    suspect(true);
    assert.deepEqual(session.texts, ['1', '2', '3', '1']);
    suspect(false);
    assert.deepEqual(session.texts, ['1', '2', '3', '1'], 'a probe under way is waited for');
    suspect(true);
    assert.deepEqual(session.texts, ['1', '2', '3', '1', '1'], 'it may be lost, too');
    session.answer(3);
    assert.deepEqual(session.texts, ['1', '2', '3', '1', '1', '2', '3']);
  });

  it('probes the oldest only when a question of after the suspicion was answered, and another threshold has passed', () => {
    const { publisher, attach, time } = setup();
    const session = attach();
    for (const text of ['1', '2']) void publisher.publish('a', text);
    time.advance(150);
    publisher.pause();
    time.advance(10);
    publisher.leaderAnswered(time.now() - 5);
    publisher.resume(false);
    const resumedAt = time.now();
    assert.equal(session.oldestOwed?.askAfter, resumedAt);
    time.advance(1000);
    assert.equal(publisher.review(150), Infinity, 'an answer is wanted first');
    publisher.leaderAnswered(resumedAt + 900);
    assert.equal(publisher.review(150), time.now() + 150);
    time.advance(149);
    publisher.review(150);
    assert.deepEqual(session.texts, ['1', '2']);
    time.advance(1);
    publisher.review(150);
    assert.deepEqual(session.texts, ['1', '2', '1']);
  });

  it('is not put off for ever by suspicion after suspicion', () => {
    const { publisher, attach, time } = setup();
    const session = attach();
    void publisher.publish('a', '1');
    for (let n = 0; n < 4; n++) {
      time.advance(150);
      publisher.pause();
      time.advance(2);
      publisher.leaderAnswered(time.now() - 1);
      publisher.resume(false);
      publisher.review(150);
    }
    assert.deepEqual(session.texts, ['1', '1']);
  });

  it('learns from the ack of an earlier probe as well', () => {
    const { publisher, attach } = setup();
    const session = attach();
    for (const text of ['1', '2']) void publisher.publish('a', text);
    publisher.pause();
    publisher.resume();
    publisher.pause();
    publisher.resume();
    session.answer(2);
    assert.deepEqual(session.texts, ['1', '2', '1', '1', '2']);
    void publisher.publish('a', '3');
    assert.deepEqual(session.texts, ['1', '2', '1', '1', '2', '3'], 'and the probe is over');
  });

  it('keeps what a probe showed to be lost until it is resumed', () => {
    const { publisher, attach } = setup();
    const session = attach();
    for (const text of ['1', '2', '3']) void publisher.publish('a', text);
    publisher.pause();
    publisher.resume();
    publisher.pause();
    session.answer(3);
    assert.deepEqual(session.texts, ['1', '2', '3', '1']);
    assert.equal(publisher.stats.inFlight, 0);
    publisher.resume();
    assert.deepEqual(session.texts, ['1', '2', '3', '1', '2', '3']);
  });

  it('just goes on when nothing is in flight', () => {
    const { publisher, attach } = setup();
    const session = attach();
    publisher.pause();
    void publisher.publish('a', '1');
    publisher.resume();
    assert.deepEqual(session.texts, ['1']);
    assert.equal(publisher.stats.resent, 0);
  });

  it('does not repeat itself when resumed twice', () => {
    const { publisher, attach } = setup();
    const session = attach();
    void publisher.publish('a', '1');
    publisher.resume();
    publisher.pause();
    publisher.resume();
    publisher.resume();
    assert.deepEqual(session.texts, ['1', '1']);
  });

  it('is over with a new session', () => {
    const { publisher, attach } = setup();
    const first = attach();
    void publisher.publish('a', '1');
    publisher.pause();
    first.lose('path', 'test');
    const second = attach();
    void publisher.publish('a', '2');
    assert.deepEqual(second.texts, ['1', '2']);
  });

  it('tells when the oldest in flight was overtaken, and probes it when asked', () => {
    const { publisher, attach, time } = setup({ maxInFlight: 3 });
    const session = attach();
    for (const text of ['1', '2', '3', '4']) void publisher.publish('a', text);
    const sentAt = time.now();
    time.advance(10);
    assert.equal(publisher.overtaken, false);
    assert.equal(session.oldestOwed?.at, sentAt);
    session.answer(1);
    assert.equal(publisher.overtaken, true);
    publisher.probe();
    publisher.probe();
    assert.deepEqual(session.texts, ['1', '2', '3', '4', '1'], 'one probe at a time');
    assert.equal(publisher.overtaken, false);
    session.answer(2);
    assert.deepEqual(session.texts, ['1', '2', '3', '4', '1'], 'nothing new while it is under way');
    session.answer(4);
    assert.deepEqual(session.texts, ['1', '2', '3', '4', '1', '4']);
    assert.equal(publisher.overtaken, false);
  });

  it('does not probe while paused, without a session, or with nothing in flight', () => {
    const { publisher, attach } = setup();
    publisher.probe();
    const session = attach();
    publisher.probe();
    void publisher.publish('a', '1');
    publisher.pause();
    publisher.probe();
    assert.deepEqual(session.texts, ['1']);
  });

  it('goes on when the probed message is given up', () => {
    const { publisher, attach } = setup();
    const session = attach();
    const controller = new AbortController();
    ignore(publisher.publish('a', '1', { signal: controller.signal }));
    void publisher.publish('a', '2');
    publisher.pause();
    void publisher.publish('a', '3');
    publisher.resume();
    controller.abort();
    assert.deepEqual(session.texts, ['1', '2', '1'], 'its ack tells about 2 all the same');
    session.answer(2);
    assert.deepEqual(session.texts, ['1', '2', '1', '2', '3']);
  });

  it('has nothing in flight without a session', () => {
    const { publisher, attach } = setup();
    const session = attach();
    void publisher.publish('a', '1');
    session.lose('disconnect', 'test');
    assert.equal(session.oldestOwed, undefined);
    assert.equal(publisher.overtaken, false);
  });
});

describe('Publisher: a channel that nobody acknowledges', () => {
  const THRESHOLD = 150;
  interface Mute extends Setup {
    session: ScriptedSession;
    /** Time passes, the leader answers questions all along, and the watch looks after the publishes. */
    calm: (ms: number) => void;
    count: (text: string) => number;
  }
  function muteSetup(options: Parameters<typeof setup>[0] = {}): Mute {
    const all = setup(options);
    const session = all.attach();
    return {
      ...all,
      session,
      count: (text) => session.texts.filter((other) => other === text).length,
      calm: (ms) => {
        for (let passed = 0; passed < ms; passed += 10) {
          all.time.advance(10);
          all.publisher.leaderAnswered(all.time.now() - 1);
          all.publisher.review(THRESHOLD);
        }
      },
    };
  }
  /** One message of it in flight, long enough to be mute. */
  function dead(options: Parameters<typeof setup>[0] = {}): Mute {
    const all = muteSetup(options);
    void all.publisher.publish('dead', 'd1');
    all.calm(1500);
    return all;
  }

  for (const ordering of ['pipelined', 'strict'] as const) {
    it(`${ordering}: is given up for the time being, holds up no other, and is told`, () => {
      const { publisher, session, calm, time } = muteSetup({ ordering, maxInFlight: 2 });
      const sentAt = time.now();
      for (const text of ['d1', 'd2', 'd3']) void publisher.publish('dead', text);
      session.onPublish = ({ channel }) => {
        if (channel === 'live') session.answer(session.sendings.length - 1);
      };
      void publisher.publish('live', 'l1');
      calm(1400);
      assert.deepEqual(publisher.unacknowledged, [{ channel: 'dead', since: sentAt }]);
      for (let n = 2; n < 50; n++) {
        void publisher.publish('live', `l${n}`);
        assert.equal(session.texts.at(-1), `l${n}`);
      }
      assert.equal(publisher.stats.acknowledged, 49);
      assert.ok(!session.texts.includes('d3'), 'nothing new of it is sent');
      assert.equal(session.oldestOwed, undefined);
      assert.equal(publisher.overtaken, false);
    });

    it(`${ordering}: while it is being found out, other channels flow`, () => {
      const { publisher, session, calm } = muteSetup({ ordering });
      void publisher.publish('dead', 'd1');
      calm(400);
      assert.deepEqual(session.texts, ['d1', 'd1'], 'its probe');
      void publisher.publish('dead', 'd2');
      void publisher.publish('live', 'l1');
      assert.deepEqual(session.texts, ['d1', 'd1', 'l1']);
    });

    it(`${ordering}: a probe's acknowledgement sends again what of it was sent before, in order, and all goes on`, () => {
      const { publisher, session, calm } = muteSetup({ ordering });
      for (const text of ['d1', 'd2', 'd3']) void publisher.publish('dead', text);
      void publisher.publish('live', 'l1');
      session.answer(session.texts.indexOf('l1'));
      calm(2600);
      const before = session.sendings.length;
      session.answer(before - 1);
      session.answerAll();
      assert.deepEqual(session.texts.slice(before), ['d2', 'd3']);
      assert.deepEqual(publisher.unacknowledged, []);
      assert.equal(publisher.stats.pending, 0);
      assert.deepEqual(session.awaited, []);
    });
  }

  it('a late acknowledgement of an earlier sending returns the rest to the window: nothing is sent again', async () => {
    const { publisher, session, calm, count } = muteSetup();
    const publishes = ['d1', 'd2', 'd3'].map((text) => publisher.publish('dead', text));
    calm(1400);
    assert.equal(publisher.unacknowledged.length, 1);
    session.answer(0);
    assert.deepEqual(publisher.unacknowledged, []);
    assert.equal(publisher.stats.inFlight, 2);
    void publisher.publish('dead', 'd4');
    assert.equal(session.texts.at(-1), 'd4');
    session.answer(1);
    session.answer(2);
    for (const publish of publishes) await ackOf(publish);
    assert.deepEqual([count('d1'), count('d2'), count('d3'), count('d4')], [2, 1, 1, 1]);
  });

  it('is tried again after 1, 2, 4 and then every 5 s, one message at a time', () => {
    const { session, time, publisher } = dead();
    for (let n = 2; n < 10; n++) void publisher.publish('dead', `d${n}`);
    const start = session.sendings.length;
    const tries: number[] = [];
    for (let ms = 0; ms < 25_000; ms += 100) {
      const before = session.sendings.length;
      time.advance(100);
      if (session.sendings.length > before) tries.push(ms);
      assert.ok(session.sendings.length <= before + 1);
    }
    const gaps = tries.slice(1).map((at, n) => at - (tries[n] ?? 0));
    assert.deepEqual(gaps, [2000, 4000, 5000, 5000, 5000]);
    assert.deepEqual(new Set(session.texts.slice(start)), new Set(['d1']));
  });

  it('costs a session no memory, however long it lasts', () => {
    const { session, time } = dead({ ackTimeout: 1e9 });
    for (let n = 0; n < 100; n++) time.advance(5000);
    assert.ok(session.sendings.length > 90);
    assert.ok(session.awaited.length <= 10, `${session.awaited.length} answers are waited for`);
  });

  it('takes with it all other channels whose messages were sent before its probe', () => {
    const { publisher, session, calm } = muteSetup({ maxInFlight: 30 });
    for (let n = 0; n < 30; n++) void publisher.publish(`dead.${n}`, `${n}`);
    void publisher.publish('live', 'l1');
    calm(1400);
    assert.equal(publisher.unacknowledged.length, 30);
    assert.equal(session.texts.includes('l1'), true);
  });

  it('its next message is tried when those in flight were given up', async () => {
    const { publisher, session, calm, time } = muteSetup();
    const given = publisher.publish('dead', 'd1', { timeout: 1600 });
    ignore(given);
    calm(1400);
    const next = publisher.publish('dead', 'd2');
    time.advance(300);
    assert.equal((await errorOf(given)).delivery, 'unknown');
    void publisher.publish('live', 'l1');
    time.advance(5000);
    assert.equal(session.texts.filter((text) => text === 'd2').length >= 1, true);
    session.answer(session.texts.lastIndexOf('d2'));
    assert.equal((await ackOf(next)).channel, 'dead');
    assert.deepEqual(publisher.unacknowledged, []);
  });

  it('is forgotten when all its messages were given up', () => {
    const { publisher, calm, time } = muteSetup();
    ignore(publisher.publish('dead', 'd1', { timeout: 1600 }));
    calm(1400);
    assert.equal(publisher.unacknowledged.length, 1);
    time.advance(6000);
    assert.deepEqual(publisher.unacknowledged, []);
    assert.equal(time.armed, 0);
  });

  it('an error shows that somebody serves it', () => {
    const { publisher, session, time } = dead();
    session.answer(session.sendings.length - 1, 'too many channels');
    assert.deepEqual(publisher.unacknowledged, []);
    time.advance(101);
    assert.equal(session.texts.at(-1), 'd1');
  });

  it('is over with the session: all goes out again, in the order of publishing', () => {
    for (const ordering of ['pipelined', 'strict'] as const) {
      const { publisher, session, calm, attach } = muteSetup({ ordering });
      for (const text of ['d1', 'd2']) void publisher.publish('dead', text);
      calm(1400);
      void publisher.publish('live', 'l1');
      void publisher.publish('dead', 'd3');
      session.lose('disconnect', 'test');
      assert.deepEqual(publisher.unacknowledged, []);
      const next = attach();
      next.answerAll();
      assert.deepEqual(
        next.texts.filter((text) => text.startsWith('d')),
        ['d1', 'd2', 'd3'],
      );
      assert.equal(publisher.stats.pending, 0);
    }
  });

  it('is not tried while the session is suspect, and at once when something was lost for certain', () => {
    const { publisher, session, time } = dead();
    const before = session.sendings.length;
    publisher.pause();
    time.advance(20_000);
    assert.equal(session.sendings.length, before);
    publisher.resume(true);
    assert.equal(session.sendings.length, before + 1);
  });

  it('costs one session by ackTimeout, and no more until it is acknowledged', () => {
    const { session, time, attach, publisher } = dead({ ackTimeout: 10_000 });
    time.advance(8000);
    assert.deepEqual(session.losses, []);
    time.advance(1000);
    assert.deepEqual(
      session.losses.map(({ reason }) => reason),
      ['ack_timeout'],
    );
    const second = attach();
    for (let n = 0; n < 6000; n++) {
      time.advance(10);
      publisher.leaderAnswered(time.now() - 1);
      publisher.review(THRESHOLD);
    }
    assert.deepEqual(second.losses, []);
    assert.equal(publisher.unacknowledged.length, 1);
  });

  it('a leader that is only slow costs each channel a probe, and no order', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 200, max: 4000 }),
        fc.constantFrom('pipelined' as const, 'strict' as const),
        fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 30 }),
        (delay, ordering, channels) => {
          const { publisher, session, time, calm } = muteSetup({ ordering, maxInFlight: 10 });
          const stored = new Map<string, number[]>();
          let served = 0;
          const due: number[] = [];
          session.onPublish = () => due.push(time.now() + delay);
          channels.forEach((channel, n) => void publisher.publish(channel, `${n}`));
          for (let ms = 0; publisher.stats.pending > 0; ms += 10) {
            assert.ok(ms < 60 * (delay + 5000), 'it does not come to an end');
            calm(10);
            while ((due[served] ?? Infinity) <= time.now()) {
              const { channel, text } = session.sendings[served] as { channel: string; text: string };
              const order = stored.get(channel) ?? [];
              stored.set(channel, order);
              if (!order.includes(Number(text))) order.push(Number(text));
              session.answer(served++);
            }
          }
          assert.deepEqual(session.losses, []);
          for (const order of stored.values()) {
            assert.deepEqual(
              order,
              [...order].sort((a, b) => a - b),
            );
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('Publisher: a leader that answers questions and refuses everything', () => {
  const refuse = (
    { publisher, time }: Setup,
    session: ScriptedSession,
    ms: number,
    answers: boolean,
    ackAt = Infinity,
  ): void => {
    let acked = false;
    for (let passed = 0; passed < ms && session.alive; passed += 10) {
      time.advance(10);
      if (answers) publisher.leaderAnswered(time.now() - 1);
      for (let n = 0; n < session.sendings.length && session.alive; n++) {
        if (session.sendings[n]?.answered === true) continue;
        if (passed >= ackAt && !acked) {
          acked = true;
          session.answer(n);
        } else session.answer(n, 'node is not the leader');
      }
    }
  };

  it('is left after 2.5 s', () => {
    const all = setup();
    const session = all.attach();
    void all.publisher.publish('a', '1');
    refuse(all, session, 2400, true);
    assert.deepEqual(session.losses, []);
    refuse(all, session, 2000, true);
    assert.deepEqual(
      session.losses.map(({ reason }) => reason),
      ['refused'],
    );
    assert.match(session.losses.map(({ message }) => message).join(), /node is not the leader/);
    assert.deepEqual(all.attach().texts, ['1']);
  });

  it('is not left when questions are not answered either: that is an election', () => {
    const all = setup();
    const session = all.attach();
    void all.publisher.publish('a', '1');
    refuse(all, session, 8000, false);
    assert.deepEqual(session.losses, []);
  });

  it('nor when something was acknowledged in between', () => {
    const all = setup();
    const session = all.attach();
    for (const text of ['1', '2', '3']) void all.publisher.publish('a', text);
    refuse(all, session, 4000, true, 1500);
    assert.deepEqual(session.losses, []);
  });
});

describe('Publisher: what a session has to remember', () => {
  it('is no more than what is in flight, after any number of elections that lost it all', () => {
    const { publisher, attach } = setup({ maxInFlight: 20 });
    const session = attach();
    for (let n = 0; n < 100; n++) void publisher.publish(`channel.${n % 3}`, `${n}`);
    for (let election = 0; election < 50; election++) {
      publisher.pause();
      publisher.resume(true);
      assert.ok(session.awaited.length <= 21, `${session.awaited.length} answers are waited for`);
      session.answer(session.sendings.length - 1);
      assert.ok(session.awaited.length <= publisher.stats.inFlight, `${session.awaited.length} answers are waited for`);
    }
    for (const { receipt } of session.awaited) assert.ok(receipt.awaited);
  });
});

describe('Publisher: bounds', () => {
  it('rejects at once when maxPending is reached, and takes in again when there is room', async () => {
    const { publisher, attach } = setup({ maxPending: 2 });
    const session = attach();
    for (const text of ['1', '2']) void publisher.publish('a', text);
    const error = await errorOf(publisher.publish('a', '3'));
    assert.ok(error instanceof OutboxFullError);
    assert.equal(error.delivery, 'not-sent');
    assert.match(error.message, /2 messages \(2 bytes\).*maxPending: 2/);
    session.answer(0);
    void publisher.publish('a', '4');
    assert.deepEqual(session.texts, ['1', '2', '4']);
  });

  it('rejects at once when maxPendingBytes is reached', async () => {
    const { publisher } = setup({ maxPendingBytes: 10 });
    void publisher.publish('a', 'ääää');
    const error = await errorOf(publisher.publish('a', '123'));
    assert.ok(error instanceof OutboxFullError);
    assert.match(error.message, /1 messages \(8 bytes\).*maxPendingBytes: 10/);
    assert.equal(await settled(publisher.publish('a', '12')), 'pending');
  });

  it('refuses what could never fit, whenFull or not', async () => {
    for (const whenFull of ['reject', 'wait'] as const) {
      const { publisher } = setup({ maxPendingBytes: 10, whenFull });
      const error = await errorOf(publisher.publish('a', '12345678901'));
      assert.ok(error instanceof InvalidArgumentError);
      assert.equal(error.delivery, 'not-sent');
      assert.match(error.message, /11 bytes.*maxPendingBytes is 10/);
      assert.equal(await settled(publisher.publish('a', '1234567890')), 'pending');
    }
  });

  it('waits for room in turn, a small one not before a large one', async () => {
    const { publisher, attach } = setup({ maxPending: 2, maxPendingBytes: 10, whenFull: 'wait' });
    const publishes = ['1', '2', '345678901', '4', '5'].map((text) => publisher.publish('a', text));
    assert.equal(publisher.stats.pending, 2);
    assert.equal(publisher.stats.waiting, 3);
    const session = attach();
    assert.deepEqual(session.texts, ['1', '2']);
    session.answer(0);
    assert.deepEqual(session.texts, ['1', '2', '345678901']);
    session.answer(1);
    assert.deepEqual(session.texts, ['1', '2', '345678901', '4']);
    session.answerAll();
    await Promise.all(publishes);
    assert.deepEqual(session.texts, ['1', '2', '345678901', '4', '5']);
  });

  it('gives room back when a message is given up', async () => {
    const { publisher, time } = setup({ maxPending: 1, whenFull: 'wait' });
    ignore(publisher.publish('a', '1', { timeout: 100 }));
    void publisher.publish('a', '2');
    assert.equal(publisher.stats.waiting, 1);
    time.advance(101);
    await reactions();
    assert.deepEqual(publisher.stats, {
      published: 2,
      acknowledged: 0,
      rejected: 1,
      resent: 0,
      pending: 1,
      pendingBytes: 1,
      inFlight: 0,
      waiting: 0,
    });
  });

  it('times out and aborts what waits for room', async () => {
    const { publisher, time, attach } = setup({ maxPending: 1, whenFull: 'wait' });
    const controller = new AbortController();
    void publisher.publish('a', '1');
    const slow = publisher.publish('a', '2', { timeout: 100 });
    const aborted = publisher.publish('a', '3', { signal: controller.signal });
    void publisher.publish('a', '4');
    ignore(slow, aborted);
    time.advance(101);
    controller.abort();
    assert.equal((await errorOf(slow)).delivery, 'not-sent');
    assert.equal((await errorOf(aborted)).delivery, 'not-sent');
    const session = attach();
    session.answerAll();
    assert.deepEqual(session.texts, ['1', '4']);
  });
});

describe('Publisher: the size on the wire', () => {
  // clientId 'unit': 1 + 1 + 4, GUID and connection ID: 2 × (1 + 1 + 22), channel 'a': 1 + 1 + 1, data: 1 + 1 + n
  const overhead = 6 + 48 + 3 + 2;

  it('refuses what the server would close the connection over, and takes what just fits', async () => {
    const { publisher, attach } = setup();
    const session = attach(1, overhead + 50);
    const error = await errorOf(publisher.publish('a', 'x'.repeat(51)));
    assert.ok(error instanceof PayloadTooLargeError);
    assert.equal(error.size, overhead + 51);
    assert.equal(error.limit, overhead + 50);
    assert.equal(error.delivery, 'not-sent');
    void publisher.publish('a', 'x'.repeat(50));
    assert.equal(session.sendings.length, 1);
  });

  it('goes by the limit last heard while there is no session', async () => {
    const heard: { limit?: number } = {};
    const { publisher } = setup({ maxPayload: () => heard.limit });
    assert.equal(await settled(publisher.publish('a', 'x'.repeat(2000))), 'pending');
    heard.limit = 1000;
    assert.ok((await errorOf(publisher.publish('a', 'x'.repeat(2000)))) instanceof PayloadTooLargeError);
  });

  it('goes by the limit of the last session otherwise', async () => {
    const { publisher, attach } = setup();
    attach(1, 1000).lose('disconnect', 'test');
    assert.ok((await errorOf(publisher.publish('a', 'x'.repeat(2000)))) instanceof PayloadTooLargeError);
    assert.equal(await settled(publisher.publish('a', 'x'.repeat(100))), 'pending');
  });

  it('checks again when the server of the next session takes less', async () => {
    const { publisher, attach } = setup({ maxInFlight: 1 });
    const [sent, unsent, small] = ['1', '2', '3'].map((c, i) => publisher.publish('a', c.repeat(i === 2 ? 10 : 100)));
    assert.ok(sent && unsent && small);
    ignore(sent, unsent);
    attach().lose('disconnect', 'test');
    const second = attach(2, overhead + 50);
    assert.deepEqual(second.texts, ['3333333333']);
    const tooLate = await errorOf(sent);
    assert.ok(tooLate instanceof PublishRejectedError);
    assert.equal(tooLate.delivery, 'unknown');
    assert.ok(tooLate.cause instanceof PayloadTooLargeError);
    const never = await errorOf(unsent);
    assert.ok(never instanceof PayloadTooLargeError);
    assert.equal(never.delivery, 'not-sent');
    assert.equal(publisher.stats.pending, 1);
  });
});

describe('Publisher: timeout', () => {
  it('gives up an unsent message for good', async () => {
    const { publisher, attach, time } = setup();
    const publish = publisher.publish('a', '1', { timeout: 500 });
    time.advance(499);
    assert.equal(await settled(publish), 'pending');
    time.advance(2);
    const error = await errorOf(publish);
    assert.ok(error instanceof PublishTimeoutError);
    assert.equal(error.delivery, 'not-sent');
    assert.match(error.message, /500 ms/);
    assert.deepEqual(attach().texts, []);
  });

  it('does not know about one that was sent', async () => {
    const { publisher, attach, time } = setup();
    const publish = publisher.publish('a', '1', { timeout: 500 });
    const first = attach();
    first.lose('disconnect', 'test');
    time.advance(501);
    const error = await errorOf(publish);
    assert.equal(error.delivery, 'unknown');
    assert.deepEqual(attach().texts, [], 'it is not sent again');
  });

  it('lets the window go on', () => {
    const { publisher, attach, time } = setup({ maxInFlight: 1 });
    const session = attach();
    ignore(publisher.publish('a', '1', { timeout: 500 }));
    void publisher.publish('a', '2');
    time.advance(501);
    assert.deepEqual(session.texts, ['1', '2']);
    session.answer(0);
    assert.equal(publisher.stats.inFlight, 1, 'a late ack of a message given up changes nothing');
    assert.equal(session.roundTrips.length, 1, 'but it shows a living leader');
  });

  it('keeps different timeouts apart', async () => {
    const { publisher, time } = setup();
    const publishes = [300, 100, 200].map((timeout) => publisher.publish('a', `${timeout}`, { timeout }));
    const states: string[] = [];
    for (let step = 0; step < 4; step++) {
      states.push((await Promise.all(publishes.map(settled))).map((s) => (s === 'pending' ? '.' : 'x')).join(''));
      time.advance(101);
    }
    assert.deepEqual(states, ['...', '.x.', '.xx', 'xxx']);
  });

  it('leaves no timer behind', async () => {
    const { publisher, time, attach } = setup();
    ignore(publisher.publish('a', '1', { timeout: 500 }));
    const session = attach();
    session.answer(0);
    await reactions();
    publisher.rejectAll(new ClosedError());
    assert.equal(time.armed, 0);
  });
});

describe('Publisher: signal', () => {
  it('rejects at once when it is aborted already', async () => {
    const { publisher, attach } = setup();
    const session = attach();
    const reason = new Error('enough');
    const error = await errorOf(publisher.publish('a', '1', { signal: AbortSignal.abort(reason) }));
    assert.ok(error instanceof AbortedError);
    assert.equal(error.cause, reason);
    assert.equal(error.delivery, 'not-sent');
    assert.deepEqual(session.texts, []);
  });

  it('gives up each of its messages, with what is known of it', async () => {
    const { publisher, attach } = setup({ maxInFlight: 1 });
    const session = attach();
    const controller = new AbortController();
    const { signal } = controller;
    const [sent, unsent] = ['1', '2'].map((text) => publisher.publish('a', text, { signal }));
    const other = publisher.publish('a', '3');
    assert.ok(sent && unsent);
    const order: string[] = [];
    sent.catch(() => order.push('sent'));
    unsent.catch(() => order.push('unsent'));
    controller.abort('why not');
    const errors = [await errorOf(sent), await errorOf(unsent)];
    assert.deepEqual(
      errors.map(({ delivery, cause }) => [delivery, cause]),
      [
        ['unknown', 'why not'],
        ['not-sent', 'why not'],
      ],
    );
    assert.deepEqual(order, ['sent', 'unsent']);
    assert.deepEqual(session.texts, ['1', '3']);
    session.answer(1);
    await ackOf(other);
  });

  it('listens once to a signal, however many messages share it, and not after the last is settled', async () => {
    const { publisher, attach } = setup();
    const session = attach();
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };
    for (let n = 0; n < 100; n++) void publisher.publish('a', 'x', { signal });
    assert.equal(listeners, 1);
    session.answerAll();
    await reactions();
    assert.equal(listeners, 0);
  });
});

describe('Publisher: answers with an error', () => {
  const UNREGISTERED = 'stan: invalid publish request';

  it('"invalid publish request" ends the session, and the message goes out on the next one', async () => {
    const { publisher, attach } = setup();
    const publish = publisher.publish('a', '1');
    const first = attach();
    first.answer(0, UNREGISTERED);
    assert.deepEqual(
      first.losses.map(({ reason }) => reason),
      ['replaced'],
    );
    const second = attach();
    assert.deepEqual(second.texts, ['1']);
    second.answer(0);
    assert.equal((await ackOf(publish)).attempts, 2);
  });

  it('"invalid publish request" on three sessions in a row is the message’s own fault', async () => {
    const { publisher, attach } = setup();
    const publish = publisher.publish('a', '1');
    const sessions = [attach()];
    sessions[0]?.answer(0, UNREGISTERED);
    sessions.push(attach());
    sessions[1]?.answer(0, UNREGISTERED);
    assert.equal(await settled(publish), 'pending');
    sessions.push(attach());
    sessions[2]?.answer(0, UNREGISTERED);
    const error = await errorOf(publish);
    assert.ok(error instanceof PublishRejectedError);
    assert.equal(error.delivery, 'rejected');
    assert.match(error.message, /invalid publish request.*client ID/);
    assert.deepEqual(
      sessions.map(({ losses }) => losses.length),
      [1, 1, 0],
    );
  });

  it('"invalid publish request" counts only in a row', async () => {
    const { publisher, attach, time } = setup();
    const publish = publisher.publish('a', '1');
    attach().answer(0, UNREGISTERED);
    attach().answer(0, UNREGISTERED);
    const third = attach();
    third.answer(0, 'too many channels');
    time.advance(101);
    third.answer(1, UNREGISTERED);
    assert.equal(third.losses.length, 1);
    assert.equal(await settled(publish), 'pending');
  });

  it('"invalid publish request" for a message that is given up ends the session all the same', () => {
    const { publisher, attach, time } = setup();
    const session = attach();
    ignore(publisher.publish('a', '1', { timeout: 10 }));
    time.advance(11);
    session.answer(0, UNREGISTERED);
    assert.equal(session.losses.length, 1);
  });

  for (const text of [
    'node is not the leader',
    'leadership lost while committing log',
    'raft is already shutdown',
    'stan: channel is being deleted',
    'server is shutting down',
  ]) {
    it(`"${text}": doubt, a short back-off, then again in order`, async () => {
      const { publisher, attach, time } = setup();
      const session = attach();
      const publishes = ['1', '2'].map((t) => publisher.publish('a', t));
      session.answer(0, text);
      session.answer(1, text);
      publishes.push(publisher.publish('a', '3'));
      assert.equal(session.doubts, 2);
      assert.deepEqual(session.roundTrips, [], 'that was no leader');
      time.advance(49);
      assert.deepEqual(session.texts, ['1', '2']);
      time.advance(2);
      assert.deepEqual(session.texts, ['1', '2', '1', '2', '3']);
      session.answerAll();
      assert.deepEqual(
        (await Promise.all(publishes)).map(({ attempts }) => attempts),
        [2, 2, 1],
      );
    });
  }

  it('doubles that back-off up to a second, and starts over after an ack', () => {
    const { publisher, attach, time } = setup();
    const session = attach();
    void publisher.publish('a', '1');
    const waits: number[] = [];
    for (let n = 0; n < 7; n++) {
      session.answer(n, 'node is not the leader');
      let waited = 0;
      while (session.sendings.length === n + 1) {
        time.advance(1);
        waited++;
      }
      waits.push(waited);
    }
    assert.deepEqual(waits, [50, 100, 200, 400, 800, 1000, 1000]);
    session.answer(7);
    void publisher.publish('a', '2');
    session.answer(8, 'node is not the leader');
    time.advance(51);
    assert.equal(session.sendings.length, 10);
  });

  it('does not carry that back-off over to the next session', () => {
    const { publisher, attach, time } = setup();
    const first = attach();
    void publisher.publish('a', '1');
    first.answer(0, 'node is not the leader');
    first.lose('disconnect', 'test');
    assert.equal(time.armed, 0);
    assert.deepEqual(attach().texts, ['1']);
  });

  it('retries any other error after 100, 200 and 400 ms, then rejects with the server’s words and advice', async () => {
    const { publisher, attach, time } = setup();
    const session = attach();
    const publish = publisher.publish('a', '1');
    for (const [n, wait] of [100, 200, 400].entries()) {
      session.answer(n, 'too many channels');
      time.advance(wait - 1);
      assert.equal(session.sendings.length, n + 1);
      time.advance(2);
      assert.equal(session.sendings.length, n + 2);
    }
    assert.equal(await settled(publish), 'pending');
    session.answer(3, 'too many channels');
    const error = await errorOf(publish);
    assert.ok(error instanceof PublishRejectedError);
    assert.equal(error.delivery, 'rejected');
    assert.equal(error.channel, 'a');
    assert.match(error.message, /'a'.*4 times.*"too many channels".*max_channels/);
    assert.equal(session.doubts, 0);
    assert.equal(session.roundTrips.length, 4, 'a leader answered');
  });

  it('acknowledges when a retry succeeds: the neighbour in the batch was to blame', async () => {
    const { publisher, attach, time } = setup();
    const session = attach();
    const publish = publisher.publish('a', '1');
    session.answer(0, 'rejecting channel "X"');
    time.advance(101);
    session.answer(1);
    assert.equal((await ackOf(publish)).attempts, 2);
  });

  it('does not call a message rejected when an earlier sending may be stored', async () => {
    for (const maybe of ['lost session', 'leadership lost'] as const) {
      const { publisher, attach, time } = setup();
      const publish = publisher.publish('a', '1');
      let session = attach();
      let n = 0;
      if (maybe === 'lost session') {
        session.lose('disconnect', 'test');
        session = attach();
      } else {
        session.answer(n++, 'leadership lost while committing log');
        time.advance(60);
      }
      for (let tries = 0; tries < 4; tries++) {
        session.answer(n++, 'too many channels');
        time.advance(500);
      }
      const error = await errorOf(publish);
      assert.ok(error instanceof PublishRejectedError);
      assert.equal(error.delivery, 'unknown', maybe);
    }
  });

  for (const ordering of ['pipelined', 'strict'] as const) {
    it(`${ordering}: a refused channel keeps its own order, and holds up no other`, () => {
      const { publisher, attach, time } = setup({ ordering });
      const session = attach();
      void publisher.publish('bad', 'b1');
      session.answer(0, 'too many channels');
      for (const text of ['b2', 'g1', 'b3', 'g2']) void publisher.publish(text.startsWith('b') ? 'bad' : 'good', text);
      for (let n = 1; n < session.sendings.length; n++) session.answer(n);
      assert.deepEqual(session.texts, ['b1', 'g1', 'g2']);
      time.advance(101);
      for (let n = 3; n < session.sendings.length; n++) session.answer(n);
      assert.deepEqual(session.texts, ['b1', 'g1', 'g2', 'b1', 'b2', 'b3']);
      void publisher.publish('bad', 'b4');
      assert.equal(session.texts.at(-1), 'b4');
    });

    it(`${ordering}: every message gets its three retries, also after one of its channel was given up`, async () => {
      const { publisher, attach, time } = setup({ ordering });
      const session = attach();
      for (let n = 0; n < 3; n++) {
        const publish = publisher.publish('bad', `${n}`);
        for (let tries = 0; tries < 4; tries++) {
          assert.equal(await settled(publish), 'pending');
          session.answer(session.sendings.length - 1, 'too many channels');
          time.advance(500);
        }
        assert.match((await errorOf(publish)).message, /sent 4 times/);
      }
      const last = publisher.publish('bad', 'last');
      session.answer(session.sendings.length - 1);
      assert.equal((await ackOf(last)).attempts, 1);
    });

    it(`${ordering}: what waited behind the second one that is given up is given up with it, and nothing else`, async () => {
      const { publisher, attach, time } = setup({ ordering, maxInFlight: 1 });
      const session = attach();
      const waiting = ['1', '2', '3', '4', 'good'].map((text) =>
        publisher.publish(text === 'good' ? text : 'bad', text),
      );
      ignore(...waiting);
      const refuseLast = (): void => session.answer(session.sendings.length - 1, 'too many channels');
      for (let answers = 0; answers < 20 && publisher.stats.pending > 0; answers++) {
        if (session.texts.at(-1) === 'good') session.answer(session.sendings.length - 1);
        else refuseLast();
        if (publisher.stats.pending === 2) ignore(publisher.publish('bad', 'later'));
        time.advance(1500);
      }
      const times = (text: string): number => session.texts.filter((other) => other === text).length;
      assert.deepEqual(['1', '2', '3', '4'].map(times), [4, 4, 0, 0]);
      for (const publish of waiting.slice(2, 4)) {
        const error = await errorOf(publish);
        assert.ok(error instanceof PublishRejectedError);
        assert.equal(error.delivery, 'not-sent');
        assert.match(error.message, /never sent: one before it was refused at each of its sendings/);
      }
      assert.equal(times('good'), 1);
    });

    it(`${ordering}: a channel that has acknowledged is not to blame, until it has refused everything for 10 s`, async () => {
      const { publisher, attach, time } = setup({ ordering });
      const session = attach();
      const refuse = (ms: number): void => {
        for (const end = time.now() + ms; time.now() < end; time.advance(20)) {
          answerAll(session, 'too many channels');
        }
      };
      const acknowledge = async (publish: ReturnType<Setup['publisher']['publish']>): Promise<unknown> => {
        while (session.awaited.length === 0) time.advance(20);
        answerAll(session);
        return await ackOf(publish);
      };
      await acknowledge(publisher.publish('a', 'first'));
      const second = publisher.publish('a', 'second');
      refuse(9000);
      await acknowledge(second);
      assert.ok((await second).attempts > 4);
      const third = publisher.publish('a', 'third');
      refuse(9000);
      assert.equal(await settled(third), 'pending', 'the acknowledgement was a break');
      refuse(3000);
      const error = await errorOf(third);
      assert.ok(error instanceof PublishRejectedError);
      assert.match(error.message, /has taken messages of this client before, and then refused all for 1\d s.*deleted/);
      const fourth = publisher.publish('a', 'fourth');
      refuse(1000);
      assert.match((await errorOf(fourth)).message, /sent 4 times/);
    });

    it(`${ordering}: time without a session does not count for the ten seconds`, async () => {
      const { publisher, attach, time } = setup({ ordering });
      let session = attach();
      const first = publisher.publish('a', 'first');
      session.answer(0);
      await ackOf(first);
      const second = publisher.publish('a', 'second');
      const life = (ms: number): void => {
        for (const end = time.now() + ms; time.now() < end; time.advance(20)) answerAll(session, 'too many channels');
        session.lose('disconnect', 'test');
      };
      for (let lives = 0; lives < 2; lives++) {
        life(4500);
        time.advance(60_000);
        session = attach();
      }
      assert.equal(await settled(second), 'pending');
      life(5000);
      assert.match((await errorOf(second)).message, /refused all for 1\d s/);
    });
  }

  it('a refusal that names another channel is never held against this one, and one that names it always', async () => {
    const { publisher, attach, time } = setup();
    const session = attach();
    const about = (channel: string): string =>
      `rejecting channel "${channel}" because channel "x" alreay exists (different cases not allowed)`;
    const refuse = (text: string, ms: number): void => {
      for (const end = time.now() + ms; time.now() < end; time.advance(20)) {
        answerAll(session, text);
      }
    };
    const publish = publisher.publish('a', '1');
    refuse(about('X'), 60_000);
    assert.equal(await settled(publish), 'pending');
    while (session.awaited.length === 0) time.advance(20);
    answerAll(session);
    await ackOf(publish);
    const second = publisher.publish('a', '2');
    refuse(about('a'), 1000);
    assert.match((await errorOf(second)).message, /sent 4 times/);
  });

  it('channels that were refused together are tried one after the other, so that only one of them spoils the batch', () => {
    const { publisher, attach, time } = setup();
    const session = attach();
    const channels = ['a', 'b', 'c', 'd'];
    for (const channel of channels) ignore(publisher.publish(channel, channel));
    let refused = 0;
    for (let ms = 0; ms < 3000; ms += 5, time.advance(5)) {
      const { awaited } = session;
      if (ms > 0) assert.ok(awaited.length <= 1, `${awaited.length} at a time`);
      answerAll(session, 'too many channels');
      refused += awaited.length;
    }
    assert.equal(refused, 4 * channels.length);
    assert.equal(publisher.stats.rejected, channels.length);
  });

  it('an error of a probe tells nothing, so the next one in flight is probed', () => {
    const { publisher, attach, time } = setup();
    const session = attach();
    for (const text of ['1', '2', '3']) void publisher.publish('a', text);
    publisher.pause();
    publisher.resume();
    session.answer(3, 'node is not the leader');
    assert.deepEqual(session.texts, ['1', '2', '3', '1']);
    time.advance(51);
    assert.deepEqual(session.texts, ['1', '2', '3', '1', '2']);
    session.answer(4);
    assert.deepEqual(session.texts, ['1', '2', '3', '1', '2', '1', '3'], 'now 3 is known to be lost, and goes after 1');
  });

  for (const ordering of ['pipelined', 'strict'] as const) {
    it(`${ordering}: the next one in flight is probed at once when the error was the message’s own`, () => {
      const { publisher, attach } = setup({ ordering });
      const session = attach();
      for (const text of ['1', '2', '3']) void publisher.publish(`channel.${text}`, text);
      publisher.pause();
      publisher.resume();
      session.answer(3, 'too many channels');
      assert.deepEqual(session.texts, ['1', '2', '3', '1', '2']);
    });
  }

  it('an error of the first sending of a probed message waits for what the probe brings', async () => {
    const { publisher, attach, time } = setup();
    const session = attach();
    const publish = publisher.publish('a', '1');
    publisher.pause();
    publisher.resume();
    session.answer(0, 'node is not the leader');
    time.advance(2000);
    assert.deepEqual(session.texts, ['1', '1']);
    session.answer(1);
    assert.equal((await ackOf(publish)).attempts, 2);
  });

  it('the longer back-off counts when a channel refuses several messages', () => {
    const { publisher, attach, time } = setup();
    const session = attach();
    void publisher.publish('a', '1');
    session.answer(0, 'too many channels');
    time.advance(101);
    void publisher.publish('a', '2');
    assert.deepEqual(session.texts, ['1', '1', '2']);
    session.answer(2, 'too many channels');
    session.answer(1, 'too many channels');
    time.advance(199);
    assert.equal(session.sendings.length, 3);
    time.advance(2);
    assert.deepEqual(session.texts, ['1', '1', '2', '1', '2']);
  });

  it('a late error of an earlier sending on the same session is not that of the later one', () => {
    const { publisher, attach } = setup();
    const session = attach();
    for (const text of ['1', '2']) void publisher.publish('a', text);
    publisher.pause();
    publisher.resume();
    session.answer(2);
    assert.deepEqual(session.texts, ['1', '2', '1', '2']);
    session.answer(1, 'too many channels');
    assert.equal(publisher.stats.inFlight, 1);
  });

  it('an answer of an earlier sending on the same session is not waited for once that is known to be lost', async () => {
    const { publisher, attach } = setup();
    const session = attach();
    const [one, two] = ['1', '2'].map((text) => publisher.publish('a', text));
    assert.ok(one && two);
    publisher.pause();
    publisher.resume();
    session.answer(2);
    assert.deepEqual(session.texts, ['1', '2', '1', '2']);
    assert.deepEqual(
      session.awaited.map(({ text }) => text),
      ['2'],
    );
    session.answer(1);
    assert.equal(await settled(two), 'pending');
    session.answer(3);
    assert.equal((await ackOf(two)).guid, 'guid-1-3');
    assert.equal((await ackOf(one)).guid, 'guid-1-2');
    assert.equal(publisher.stats.pending, 0);
  });
});

describe('Publisher: ackTimeout', () => {
  it('gives the session up when the oldest in flight gets no ack although the leader answers', () => {
    const { publisher, attach, time } = setup({ ackTimeout: 1000 });
    const session = attach();
    void publisher.publish('a', '1');
    time.advance(600);
    void publisher.publish('a', '2');
    session.answer(1);
    time.advance(399);
    publisher.leaderAnswered(time.now());
    assert.deepEqual(session.losses, []);
    time.advance(2);
    assert.deepEqual(
      session.losses.map(({ reason }) => reason),
      ['ack_timeout'],
    );
    assert.deepEqual(attach().texts, ['1']);
  });

  it('counts from the last sending that was not a probe', () => {
    const { publisher, attach, time } = setup({ ackTimeout: 1000 });
    const session = attach();
    void publisher.publish('a', '1');
    time.advance(900);
    publisher.pause();
    publisher.resume();
    publisher.leaderAnswered(time.now());
    time.advance(101);
    assert.equal(session.losses.length, 1);
  });

  it('waits until the leader has answered a question that was asked after the message was sent', () => {
    const { publisher, attach, time } = setup({ ackTimeout: 1000 });
    const session = attach();
    publisher.leaderAnswered(time.now() - 1);
    void publisher.publish('a', '1');
    time.advance(5000);
    assert.deepEqual(session.losses, []);
    publisher.leaderAnswered(time.now() - 10);
    assert.equal(session.losses.length, 1);
  });

  it('costs one session for each channel, until that is acknowledged again', () => {
    const { publisher, attach, time } = setup({ ackTimeout: 1000 });
    let session = attach();
    const unanswered = (): void => {
      void publisher.publish('a', 'x');
      publisher.leaderAnswered(time.now() + 1);
      time.advance(1001);
    };
    unanswered();
    assert.equal(session.losses.length, 1);
    session = attach();
    unanswered();
    time.advance(60_000);
    assert.equal(session.losses.length, 0);
    session.answerAll();
    unanswered();
    assert.equal(session.losses.length, 1);
  });

  it('is not held up by messages in front whose channel has cost a session', () => {
    const { publisher, attach, time } = setup({ ackTimeout: 1000 });
    attach();
    void publisher.publish('a', '1');
    publisher.leaderAnswered(time.now() + 1);
    time.advance(1001);
    const session = attach();
    void publisher.publish('b', '2');
    publisher.leaderAnswered(time.now() + 1);
    time.advance(1001);
    assert.equal(session.losses.length, 1);
    assert.match(session.losses[0]!.message, /channel 'b'/);
  });

  it('does not fire for what is acknowledged in time', () => {
    const { publisher, attach, time } = setup({ ackTimeout: 1000 });
    const session = attach();
    for (let n = 0; n < 20; n++) {
      void publisher.publish('a', 'x');
      time.advance(300);
      session.answer(n);
    }
    time.advance(5000);
    assert.deepEqual(session.losses, []);
    assert.equal(time.armed, 0);
  });
});

describe('Publisher: flush', () => {
  it('resolves when every publish so far is settled, whatever comes later', async () => {
    const { publisher, attach, time } = setup();
    await publisher.flush();
    const session = attach();
    void publisher.publish('a', '1');
    ignore(publisher.publish('a', '2', { timeout: 100 }));
    let flushed = 0;
    void publisher.flush().then(() => flushed++);
    void publisher.flush().then(() => flushed++);
    void publisher.publish('a', '3');
    session.answer(0);
    await reactions();
    assert.equal(flushed, 0);
    time.advance(101);
    await reactions();
    assert.equal(flushed, 2);
  });

  it('waits for what waits for room', async () => {
    const { publisher, attach } = setup({ maxPending: 1, whenFull: 'wait' });
    void publisher.publish('a', '1');
    void publisher.publish('a', '2');
    let flushed = false;
    void publisher.flush().then(() => (flushed = true));
    const session = attach();
    session.answer(0);
    await reactions();
    assert.equal(flushed, false);
    session.answer(1);
    await reactions();
    assert.equal(flushed, true);
  });
});

describe('Publisher: the end', () => {
  it('takes nothing more in after stopIntake, and what is pending goes on', async () => {
    const { publisher, attach } = setup();
    const publish = publisher.publish('a', '1');
    publisher.stopIntake();
    const error = await errorOf(publisher.publish('a', '2'));
    assert.ok(error instanceof ClosedError);
    assert.equal(error.delivery, 'not-sent');
    const session = attach();
    assert.deepEqual(session.texts, ['1']);
    session.answer(0);
    await ackOf(publish);
  });

  it('rejects all that is left, each with what is known of it', async () => {
    const { publisher, attach, time } = setup({ maxInFlight: 1, maxPending: 2, whenFull: 'wait' });
    const publishes = ['1', '2', '3'].map((text) => publisher.publish('a', text, { timeout: 5000 }));
    const session = attach();
    const flushed = publisher.flush();
    const cause = new Error('no more tries');
    publisher.rejectAll(new ClosedError('it is over', { cause }));
    const errors = await Promise.all(publishes.map(errorOf));
    assert.ok(errors.every((error) => error instanceof ClosedError));
    assert.deepEqual(
      errors.map(({ message, delivery, cause }) => [message, delivery, cause]),
      ['unknown', 'not-sent', 'not-sent'].map((delivery) => ['it is over', delivery, cause]),
    );
    await flushed;
    assert.deepEqual(session.texts, ['1']);
    assert.equal(time.armed, 0);
    assert.ok((await errorOf(publisher.publish('a', '4'))) instanceof ClosedError);
    publisher.attach(session);
    assert.deepEqual(session.texts, ['1']);
    assert.equal(publisher.stats.rejected, 4);
    publisher.rejectAll(() => new Error('twice'));
  });

  it('makes any other reason the cause of a ClosedError', async () => {
    const { publisher } = setup();
    const publish = publisher.publish('a', '1');
    const reason = new TypeError('gave up');
    publisher.rejectAll(reason);
    const error = await errorOf(publish);
    assert.ok(error instanceof ClosedError);
    assert.equal(error.cause, reason);
    assert.equal(error.message, 'gave up');
  });

  it('is the same for a reason that is made on demand', async () => {
    const { publisher } = setup();
    const publish = publisher.publish('a', '1');
    publisher.rejectAll(() => new ClosedError('made'));
    assert.equal((await errorOf(publish)).message, 'made');
  });
});

describe('Publisher: denied channels', () => {
  const denied = new PermissionError('_STAN.pub.x.bad', 'not allowed', { delivery: 'rejected' });

  for (const ordering of ['pipelined', 'strict'] as const) {
    it(`${ordering}: rejects all messages of the channel, and no others`, async () => {
      const { publisher, attach } = setup({ ordering, maxInFlight: 2, maxPending: 4, whenFull: 'wait' });
      const bad = publisher.publish('bad', '1');
      const good = publisher.publish('good', '2');
      const more = ['3', '4', '5'].map((text) => publisher.publish('bad', text));
      ignore(bad, ...more);
      const first = attach();
      first.lose('permission', 'denied');
      publisher.denyChannel('bad', denied);
      assert.equal(await errorOf(bad), denied, 'sent once, and that sending was the denied one');
      for (const publish of more) assert.equal(await errorOf(publish), denied);
      const second = attach();
      assert.deepEqual(second.texts, ['2']);
      second.answer(0);
      await ackOf(good);
    });
  }

  it('is not asked again for 10 s, whoever goes on publishing', async () => {
    const { publisher, attach, time } = setup();
    const session = attach();
    publisher.denyChannel('bad', new PermissionError('_STAN.pub.x.bad', 'not allowed'));
    for (const wait of [0, 5000, 4999]) {
      time.advance(wait);
      const error = await errorOf(publisher.publish('bad', '1'));
      assert.ok(error instanceof PermissionError);
      assert.equal(error.subject, '_STAN.pub.x.bad');
      assert.equal(error.delivery, 'not-sent');
    }
    assert.deepEqual(session.texts, []);
    time.advance(1);
    const granted = publisher.publish('bad', '2');
    session.answer(0);
    await ackOf(granted);
    assert.deepEqual(session.texts, ['2']);
    assert.deepEqual([publisher.stats.published, publisher.stats.rejected], [4, 3]);
  });

  it('does not call rejected what an earlier session may have stored', async () => {
    const { publisher, attach } = setup();
    const sent = publisher.publish('bad', '1');
    attach().lose('disconnect', 'test');
    const fresh = publisher.publish('bad', '2');
    ignore(sent, fresh);
    attach();
    publisher.denyChannel('bad', new PermissionError('bad', 'not allowed'));
    const errors = [await errorOf(sent), await errorOf(fresh)];
    assert.ok(errors.every((error) => error instanceof PermissionError));
    assert.deepEqual(
      errors.map(({ delivery }) => delivery),
      ['unknown', 'rejected'],
    );
  });
});
