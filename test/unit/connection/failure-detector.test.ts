/**
 * The detector against a scripted link and a scripted race, in virtual time: a real server cannot be made to answer one
 * question and not the next on demand.
 */
import assert from 'node:assert/strict';
import type { Answer, Link } from '../../../src/connection/link.js';
import type { Found, LeaderSearch } from '../../../src/connection/leader-search.js';
import { Line } from '../../../src/connection/throughput.js';
import { FailureDetector } from '../../../src/connection/failure-detector.js';
import { VirtualTime } from '../../support/virtual-time.js';
import { idleParticipants } from '../../support/participants.js';

class ScriptedLink {
  readonly address = { url: 'nats://own:4222' };
  onAnswer: ((answer: Answer) => void) | undefined;
  asked: number[] = [];
  /** When that was. */
  askedAt: number[] = [];
  now = (): number => 0;
  serverPings = 0;
  /** How it answers: at once, or not at all. */
  answers = true;
  serverAnswers = true;
  registered = true;
  onProgress: (() => void) | undefined;
  onLarge: ((end: number, bytes: number) => void) | undefined;
  /** Bytes handed over so far. */
  sent = 0;
  forgetQuestions(): void {}
  ask(_cluster: string, _id: Uint8Array, instant: number): void {
    this.asked.push(instant);
    this.askedAt.push(this.now());
    if (this.answers) queueMicrotask(() => this.onAnswer?.({ instant, registered: this.registered }));
  }
  pingServer(onPong: () => void): void {
    this.serverPings += 1;
    if (this.serverAnswers) queueMicrotask(onPong);
  }
}

class ScriptedSearch {
  found: Found | undefined;
  onWon: ((found: Found) => void) | undefined;
  onAsk: (() => void) | undefined;
  /** When it asked. */
  asked: number[] = [];
  cancelled = false;
  #cancelAsking: (() => void) | undefined;
  /** What the other path answers from now on, if it is asked again. */
  registered = true;
  askedAgain = 0;
  keepOn(): void {
    const ask = (): void => {
      this.#cancelAsking = this.time.clock.after(50, ask);
      this.asked.push(this.time.now());
      this.onAsk?.();
    };
    ask();
  }
  constructor(readonly time: VirtualTime) {}
  cancel(): void {
    this.cancelled = true;
    this.#cancelAsking?.();
  }
  win(registered = true): void {
    const link = {
      address: { url: 'nats://other:4222' },
      alive: true,
      onAnswer: undefined as ((answer: Answer) => void) | undefined,
      ask: (_cluster: string, _id: Uint8Array, instant: number) => {
        this.askedAgain += 1;
        queueMicrotask(() => link.onAnswer?.({ instant, registered: this.registered }));
      },
    };
    this.registered = registered;
    const found = { link: link as unknown as Link, instant: this.asked.length, registered, roundTrip: 1 };
    this.found = found;
    this.#cancelAsking?.();
    this.onWon?.(found);
  }
}

const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

describe('the failure detector', () => {
  let time: VirtualTime;
  let link: ScriptedLink;
  let search: ScriptedSearch | undefined;
  let calls: string[];
  let oldest: number | undefined;
  let oldestEnd: number;
  let askAfter: number;
  let wanted: number | undefined;
  let answered: number[];
  let reviews: { at: number; threshold: number }[];
  let losses: { reason: string; handedOver: boolean }[];
  let detector: FailureDetector;

  const pass = (ms: number): Promise<void> => time.pass(ms);

  beforeEach(() => {
    time = new VirtualTime();
    link = new ScriptedLink();
    link.now = time.now;
    search = undefined;
    calls = [];
    losses = [];
    search = undefined;
    oldest = undefined;
    oldestEnd = 0;
    askAfter = Infinity;
    wanted = undefined;
    reviews = [];
    answered = [];
    detector = new FailureDetector({
      path: { link: link as unknown as Link, connectionId: Buffer.from('id'), roundTrip: 1, line: new Line() },
      settings: { clusterId: 'c', pings: { interval: 1000, maxOut: 3 }, logger: SILENT },
      participants: idleParticipants(
        {
          get wantsAnswerSince() {
            return wanted;
          },
        },
        {
          leaderAnswered: (askedAt) => void answered.push(askedAt),
          review: (threshold) => {
            reviews.push({ at: time.now(), threshold });
            return time.now() + 30;
          },
        },
      ),
      recovery: {
        begin: () => calls.push('pause'),
        end: (missed) => calls.push(missed ? 'resume, missed' : 'resume'),
      },
      oldestPublish: () => (oldest === undefined ? undefined : { at: oldest, end: oldestEnd, askAfter }),
      oldestRequest: () => undefined,
      race: () => {
        search = new ScriptedSearch(time);
        calls.push('race');
        return search as unknown as LeaderSearch;
      },
      lose: (reason, _message, successor) => {
        losses.push({ reason, handedOver: successor !== undefined && (successor as unknown) === search });
        detector.stop();
      },
      clock: time.clock,
    });
  });
  afterEach(() => {
    detector.stop();
    search?.cancel();
  });

  it('pings an idle session once an interval, and is content with the answers', async () => {
    await pass(5000);
    assert.ok(link.asked.length >= 4 && link.asked.length <= 5, `${link.asked.length} pings in 5 s`);
    assert.deepEqual(calls, []);
    assert.equal(link.serverPings, 0);
  });

  it('does not ping while there is other evidence', async () => {
    for (let i = 0; i < 50; i++) {
      await pass(100);
      detector.heard();
    }
    assert.deepEqual(link.asked, []);
  });

  it('suspects when an ack is overdue: pauses, asks every 50 ms, asks the server itself', async () => {
    link.answers = false;
    oldest = time.now();
    detector.owed();
    await pass(149);
    assert.deepEqual(calls, []);
    await pass(5);
    assert.deepEqual(calls, ['pause']);
    assert.ok(detector.suspect);
    // That one was asked before, so that now it is known whether it lives.
    assert.equal(link.serverPings, 1);
    const asked = link.asked.length;
    await pass(500);
    assert.equal(link.asked.length - asked, 10);
  });

  it('resumes at the first answer, and says when something before it was never answered', async () => {
    oldest = time.now();
    detector.owed();
    await pass(155);
    assert.deepEqual(calls, ['pause', 'resume']);
    calls.length = 0;
    link.answers = false;
    oldest = time.now();
    detector.owed();
    await pass(400);
    link.answers = true;
    await pass(60);
    assert.deepEqual(calls, ['pause', 'resume, missed']);
    assert.ok(!detector.suspect);
    assert.deepEqual(losses, []);
  });

  it('does not hold a stall of our own event loop against the leader', async () => {
    oldest = time.now();
    detector.owed();
    time.stall(2000);
    await pass(100);
    assert.deepEqual(calls, []);
    // But it does not forget either.
    link.answers = false;
    await pass(200);
    assert.deepEqual(calls, ['pause']);
  });

  it('tries another path soon when the attached server is mute, too', async () => {
    link.answers = link.serverAnswers = false;
    oldest = time.now();
    detector.owed();
    await pass(300);
    assert.deepEqual(calls, ['pause', 'race']);
    assert.ok((search?.asked.length ?? 0) > 0);
    // At the same instants as on our own path.
    for (const at of search!.asked) assert.ok(link.askedAt.includes(at));
    assert.ok(link.asked.length <= 10, 'and no more often than otherwise');
  });

  it('by then has asked the attached server, and loses no time when that is mute, too', async () => {
    link.answers = link.serverAnswers = false;
    oldest = time.now();
    detector.owed();
    await pass(74);
    assert.equal(link.serverPings, 0);
    await pass(2);
    assert.equal(link.serverPings, 1);
    await pass(80);
    assert.deepEqual(calls, ['pause', 'race']);
  });

  it('asks it anew in each silence', async () => {
    for (let i = 1; i <= 3; i++) {
      oldest = time.now();
      detector.owed();
      await pass(80);
      assert.equal(link.serverPings, i);
      oldest = undefined;
      detector.heard();
      await pass(300);
    }
    assert.deepEqual(calls, []);
  });

  it('is not woken up by a question that was answered', async () => {
    await pass(1010);
    assert.equal(link.asked.length, 1);
    assert.ok(time.nextAt > time.now() + 900, 'the next timer is that of the next question');
  });

  it('has a second of patience when the attached server answers: it is probably an election', async () => {
    link.answers = false;
    oldest = time.now();
    detector.owed();
    await pass(1000);
    assert.deepEqual(calls, ['pause']);
    await pass(300);
    assert.deepEqual(calls, ['pause', 'race']);
  });

  it('ends the session when another path answers and ours does not, and hands the race over', async () => {
    link.answers = link.serverAnswers = false;
    oldest = time.now();
    detector.owed();
    await pass(300);
    search!.win();
    await pass(50);
    assert.deepEqual(losses, []);
    await pass(60);
    assert.deepEqual(losses, [{ reason: 'path', handedOver: true }]);
    assert.equal(search!.cancelled, false);
  });

  it('calls the race off when our own path answers within the margin', async () => {
    link.answers = link.serverAnswers = false;
    oldest = time.now();
    detector.owed();
    await pass(300);
    search!.win();
    link.answers = true;
    await pass(60);
    assert.deepEqual(losses, []);
    assert.ok(search!.cancelled);
    assert.equal(calls.at(-1), 'resume, missed');
    await pass(500);
    assert.deepEqual(losses, []);
  });

  it('ends a session that another path does not know, on a second answer to a question asked later', async () => {
    link.answers = link.serverAnswers = false;
    oldest = time.now();
    detector.owed();
    await pass(300);
    search!.win(false);
    await pass(1);
    assert.deepEqual(losses, [], 'a former leader may say so, too');
    await pass(60);
    assert.deepEqual(
      losses.map(({ reason }) => reason),
      ['replaced'],
    );
  });

  it('goes over to another path whose first answer was wrong', async () => {
    link.answers = link.serverAnswers = false;
    oldest = time.now();
    detector.owed();
    await pass(300);
    search!.win(false);
    search!.registered = true;
    await pass(300);
    assert.deepEqual(losses, [{ reason: 'path', handedOver: true }]);
  });

  it('gives up after interval × maxOut without an answer', async () => {
    link.answers = false;
    await pass(1000 + 2900);
    assert.deepEqual(losses, []);
    await pass(300);
    assert.deepEqual(
      losses.map(({ reason }) => reason),
      ['pings'],
    );
  });

  it('ends a session that the leader does not know, on two answers in a row', async () => {
    link.registered = false;
    await pass(1005);
    assert.deepEqual(losses, []);
    await pass(60);
    assert.deepEqual(
      losses.map(({ reason }) => reason),
      ['replaced'],
    );
  });

  it('does not believe a single answer of a leader that has not stepped down yet', async () => {
    link.registered = false;
    await pass(1005);
    link.registered = true;
    await pass(5000);
    assert.deepEqual(losses, []);
  });

  it('does not believe several answers of one moment: a leader that was frozen gives all it was asked before', async () => {
    link.answers = false;
    oldest = time.now();
    detector.owed();
    await pass(500);
    const queued = [...link.asked];
    assert.ok(queued.length > 4);
    for (const instant of queued) link.onAnswer?.({ instant, registered: false });
    link.answers = true;
    await pass(2000);
    assert.deepEqual(losses, []);
  });

  it('ignores answers to questions of another time', async () => {
    link.onAnswer?.({ instant: 4711, registered: false });
    link.onAnswer?.({ instant: 4712, registered: false });
    link.onAnswer?.({ instant: 4713, registered: false });
    await pass(100);
    assert.deepEqual(losses, []);
  });

  it('has publishes in flight reviewed while all is calm, and when it was told to come again', async () => {
    oldest = time.now();
    detector.owed();
    for (let i = 0; i < 10; i++) {
      await pass(50);
      detector.heardAnswer({ at: time.now() - 1, end: 0 });
    }
    assert.ok(reviews.length >= 4, `${reviews.length} reviews`);
    assert.ok(reviews.every(({ threshold }) => threshold === 150));
    const gaps = reviews.slice(1).map(({ at }, n) => at - (reviews[n]?.at ?? 0));
    assert.ok(
      gaps.every((gap) => gap <= 30),
      `${gaps.join(' ')} ms apart`,
    );
    assert.deepEqual(calls, []);
    oldest = undefined;
    await pass(100);
    const before = reviews.length;
    await pass(500);
    assert.equal(reviews.length, before, 'not when nothing is in flight');
  });

  it('asks when an answer is wanted that is newer than all, and tells for when it was', async () => {
    wanted = oldest = time.now();
    detector.owed();
    for (let i = 0; i < 7; i++) {
      await pass(10);
      detector.heardAnswer({ at: time.now() - 1, end: 0 });
    }
    assert.deepEqual(link.asked, [], 'half a threshold must have passed');
    await pass(10);
    assert.equal(link.asked.length, 1);
    assert.equal(answered.length, 1);
    assert.ok((answered[0] ?? 0) > wanted);
    wanted = undefined;
    for (let i = 0; i < 30; i++) {
      await pass(10);
      detector.heardAnswer({ at: time.now() - 1, end: 0 });
    }
    assert.equal(link.asked.length, 1);
  });

  it('asks for the oldest publish, too, until it has an answer that tells about it', async () => {
    askAfter = oldest = time.now();
    detector.owed();
    for (let i = 0; i < 30; i++) {
      await pass(10);
      detector.heardAnswer({ at: time.now() - 1, end: 0 });
    }
    assert.equal(link.asked.length, 1);
    // Put off: only a later question tells.
    askAfter = time.now();
    for (let i = 0; i < 30; i++) {
      await pass(10);
      detector.heardAnswer({ at: time.now() - 1, end: 0 });
    }
    assert.equal(link.asked.length, 2);
  });

  it('asks when in doubt, and not again before the answer', async () => {
    detector.doubt();
    detector.doubt();
    assert.equal(link.asked.length, 1);
    await pass(5);
    detector.doubt();
    assert.equal(link.asked.length, 2);
  });

  it('tells what was answered before it resumes', async () => {
    oldest = time.now();
    detector.owed();
    await pass(155);
    assert.deepEqual(calls, ['pause', 'resume']);
    assert.equal(answered.length, 1);
    assert.ok((answered[0] ?? 0) >= oldest + 150);
  });

  describe('is surprised', () => {
    /** Messages at a steady pace, until the detector has looked at them once. */
    const busy = async (): Promise<void> => {
      for (let i = 0; i < 120; i++) {
        detector.heardMessage();
        await pass(10);
      }
      assert.deepEqual(link.asked, []);
    };

    it('by the silence of what was busy: asks at once, and once', async () => {
      await busy();
      await pass(70);
      assert.equal(link.asked.length, 1);
      await pass(800);
      assert.equal(link.asked.length, 1);
    });

    it('anew once it has been busy again', async () => {
      await busy();
      await pass(200);
      assert.equal(link.asked.length, 1);
      link.asked = [];
      await busy();
      await pass(300);
      assert.equal(link.asked.length, 1);
    });

    it('not by one that was slow', async () => {
      for (let i = 0; i < 20; i++) {
        detector.heardMessage();
        await pass(400);
      }
      assert.deepEqual(link.asked, []);
      await pass(500);
      assert.deepEqual(link.asked, []);
    });

    it('not by the end of a row of answers, which come when something was asked', async () => {
      for (let i = 0; i < 120; i++) {
        detector.heard();
        await pass(10);
      }
      await pass(800);
      assert.deepEqual(link.asked, []);
    });
  });

  describe('on a thin line', () => {
    it('waits as long as the bytes before an answer take: nothing is suspected, and nothing lost', async () => {
      link.answers = link.serverAnswers = false;
      oldest = time.now();
      oldestEnd = link.sent = 900_000;
      link.onLarge!(900_000, 900_000);
      detector.owed();
      await pass(10_000);
      assert.deepEqual(calls, []);
      assert.deepEqual(losses, []);
    });

    it('but not for ever', async () => {
      link.answers = link.serverAnswers = false;
      oldest = time.now();
      oldestEnd = link.sent = 900_000;
      link.onLarge!(900_000, 900_000);
      detector.owed();
      await pass(60_000);
      assert.equal(calls[0], 'pause');
    });

    it('gives a question the time for all bytes before it, although another path answers it at once', async () => {
      link.answers = link.serverAnswers = false;
      // A small message is overdue, and a large one went out behind it.
      oldest = time.now();
      oldestEnd = 100;
      link.sent = 900_000;
      link.onLarge!(900_000, 899_900);
      detector.owed();
      await pass(300);
      search?.win();
      await pass(3000);
      assert.deepEqual(losses, []);
    });

    it('is not excused by many small frames, however many there are', async () => {
      link.answers = link.serverAnswers = false;
      oldest = time.now();
      oldestEnd = 100;
      link.sent = 100_000_000;
      detector.owed();
      await pass(300);
      search!.win();
      await pass(200);
      assert.deepEqual(losses, [{ reason: 'path', handedOver: true }]);
    });

    it('takes a message that is on its way to us for a sign of life, for as long as it takes', async () => {
      link.answers = link.serverAnswers = false;
      oldest = time.now();
      detector.owed();
      for (let i = 0; i < 200; i++) {
        await pass(50);
        link.onProgress?.();
      }
      assert.deepEqual(calls, []);
      await pass(160);
      assert.equal(calls[0], 'pause');
    });

    it('does not judge a path that brings something, although another one answers', async () => {
      link.answers = link.serverAnswers = false;
      oldest = time.now();
      detector.owed();
      await pass(300);
      search!.win();
      for (let i = 0; i < 100; i++) {
        await pass(50);
        link.onProgress?.();
      }
      assert.deepEqual(losses, []);
      await pass(200);
      assert.deepEqual(losses, [{ reason: 'path', handedOver: true }]);
    });
  });

  it('does nothing any more once it is stopped', async () => {
    oldest = time.now();
    link.answers = false;
    detector.owed();
    await pass(200);
    detector.stop();
    const asked = link.asked.length;
    await pass(3000);
    assert.equal(link.asked.length, asked);
    assert.deepEqual(losses, []);
  });
});
