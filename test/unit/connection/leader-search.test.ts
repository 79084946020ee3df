/**
 * The race for the leader against scripted dials and links, in virtual time: hosts that are mute, refuse, come back or
 * answer late exactly when the rule under test needs it.
 */
import assert from 'node:assert/strict';
import { AuthorizationError, ConnectError, type PlainServer } from '../../../src/errors.js';
import type { Answer, Link } from '../../../src/connection/link.js';
import {
  ASK_EVERY,
  BUSY_HEAD_START,
  HEAD_START,
  LeaderSearch,
  PLAIN_AFTER,
  type Found,
} from '../../../src/connection/leader-search.js';
import type { ServerAddress } from '../../../src/connection/servers.js';
import { Unreached } from '../../../src/connection/stream.js';
import { VirtualTime } from '../../support/virtual-time.js';

class ScriptedLink {
  onAnswer: ((answer: Answer) => void) | undefined;
  onDeath: ((error: Error) => void) | undefined;
  alive = true;
  asked: number[] = [];
  constructor(
    readonly address: ServerAddress,
    readonly plain?: PlainServer,
  ) {}
  ask(_cluster: string, _id: Uint8Array, instant: number): void {
    this.asked.push(instant);
  }
  answer(registered = false): void {
    this.onAnswer?.({ instant: this.asked.at(-1)!, registered });
  }
  die(): void {
    this.alive = false;
    this.onDeath?.(new Error('the server closed the connection'));
  }
  destroy(): void {
    this.alive = false;
  }
  /** Deaf: takes everything in and answers nothing. */
  deaf = false;
  checks = 0;
  pingServer(onPong: () => void): void {
    this.checks += 1;
    if (!this.deaf) queueMicrotask(onPong);
  }
}

interface Dial {
  server: string;
  at: number;
  accept: () => ScriptedLink;
  refuse: (error?: Error) => void;
}

describe('the search for the leader', () => {
  let time: VirtualTime;
  let dials: Dial[];
  let search: LeaderSearch;
  /** How a server answers a dial at once; the others stay mute until the test says. */
  let at: Record<string, 'refuses' | 'denies' | undefined>;
  let settled: { found?: Found; error?: Error }[];
  let failed: string[];
  /** The servers that look plain, and whether they stand alone. */
  let plain: Record<string, boolean | Error>;
  let askedIfPlain: string[];

  const start = (servers: string[], idle?: () => number): void => {
    search = new LeaderSearch({
      servers: () => servers.map((name) => ({ url: `nats://${name}:4222`, host: name, port: 4222, tls: false })),
      clusterId: 'c',
      connectionId: Buffer.from('id'),
      connectTimeout: 2000,
      redial: {
        retries: Infinity,
        factor: 2,
        minTimeout: 100,
        maxTimeout: 400,
        randomize: false,
        maxRetryTime: Infinity,
      },
      dial: (address) =>
        new Promise<Link>((resolve, reject) => {
          const server = address.host;
          const link = new ScriptedLink(address, server in plain ? { version: '2.10.7', jetStream: true } : undefined);
          const dial: Dial = {
            server,
            at: time.now(),
            accept: () => {
              resolve(link as unknown as Link);
              return link;
            },
            refuse: (error = new Unreached('connection refused')) => reject(error),
          };
          dials.push(dial);
          if (at[server] === 'refuses') dial.refuse();
          if (at[server] === 'denies') dial.refuse(new AuthorizationError(address.url, 'Authorization Violation'));
        }),
      idle,
      standsAlone: ({ host }) => {
        askedIfPlain.push(host);
        const answer = plain[host]!;
        return typeof answer === 'boolean' ? Promise.resolve(answer) : Promise.reject(answer);
      },
      onFailed: ({ host }) => failed.push(host),
      clock: time.clock,
    });
  };
  const round = (): void => {
    const result: { found?: Found; error?: Error } = {};
    settled.push(result);
    search.round().then(
      (found) => (result.found = found),
      (error: Error) => (result.error = error),
    );
  };
  const dialled = (): string[] => dials.map(({ server }) => server);
  const accept = async (server: string): Promise<ScriptedLink> => {
    const link = dials.findLast((dial) => dial.server === server)!.accept();
    await time.pass(1);
    return link;
  };

  beforeEach(() => {
    time = new VirtualTime();
    dials = [];
    at = {};
    settled = [];
    failed = [];
    plain = {};
    askedIfPlain = [];
  });
  afterEach(() => {
    search.cancel();
    assert.equal(time.armed, 0, 'no timer outlives the race');
  });

  it('dials a head start apart while nobody answers', async () => {
    start(['a', 'b', 'c']);
    round();
    assert.deepEqual(dialled(), ['a']);
    await time.pass(HEAD_START - 1);
    assert.deepEqual(dialled(), ['a']);
    await time.pass(2);
    assert.deepEqual(dialled(), ['a', 'b']);
    await time.pass(HEAD_START);
    assert.deepEqual(dialled(), ['a', 'b', 'c']);
  });

  it('at the first connect, time in which our own loop was busy is no head start, but for a second at most', async () => {
    let idle = 0;
    start(['a', 'b', 'c'], () => idle);
    round();
    await time.pass(HEAD_START * 3);
    assert.deepEqual(dialled(), ['a'], 'it was busy all the time');
    idle += HEAD_START;
    await time.pass(HEAD_START);
    assert.deepEqual(dialled(), ['a', 'b']);
    await time.pass(BUSY_HEAD_START - HEAD_START);
    assert.deepEqual(dialled(), ['a', 'b'], 'busy again');
    await time.pass(HEAD_START + 5);
    assert.deepEqual(dialled(), ['a', 'b', 'c']);
  });

  it('at the first connect, who has accepted has a head start for the leader’s answer; after a loss it has none', async () => {
    for (const first of [true, false]) {
      dials = [];
      const since = time.now();
      start(['a', 'b'], first ? () => time.now() - since : undefined);
      round();
      await time.pass(HEAD_START - 10);
      const a = await accept('a');
      await time.pass(HEAD_START - 10);
      assert.deepEqual(dialled(), first ? ['a'] : ['a', 'b']);
      // No leader answers through it.
      await time.pass(30);
      assert.deepEqual(dialled(), ['a', 'b']);
      a.answer();
      search.cancel();
    }
  });

  it('a server that refuses gives its head start to the next one', async () => {
    at = { a: 'refuses', b: 'refuses' };
    start(['a', 'b', 'c']);
    round();
    await time.pass(1);
    assert.deepEqual(dialled(), ['a', 'b', 'c']);
  });

  it('the first answer ends the race, and closes the others', async () => {
    start(['a', 'b']);
    round();
    await time.pass(HEAD_START + 1);
    const a = await accept('a');
    const b = await accept('b');
    assert.ok(a.asked.length > 0 && b.asked.length > 0);
    b.answer(true);
    await time.pass(1);
    assert.equal(settled[0]!.found?.link, b as unknown as Link);
    assert.equal(settled[0]!.found?.registered, true);
    assert.equal(a.alive, false);
    assert.equal(b.alive, true);
    assert.equal(search.found?.link, b as unknown as Link);
  });

  it('an accepted connection goes on asking, through the end of the round and after it', async () => {
    start(['a']);
    round();
    const a = await accept('a');
    await time.pass(2100);
    assert.match(
      settled[0]!.error!.message,
      /connected to nats:\/\/a:4222, but no leader of cluster 'c' answered.*is the cluster ID right/,
    );
    const asked = a.asked.length;
    assert.ok(asked >= 2000 / ASK_EVERY - 1);
    await time.pass(500);
    assert.equal(a.asked.length, asked + 500 / ASK_EVERY);
    a.answer();
    round();
    await time.pass(1);
    assert.equal(settled[1]!.found?.link, a as unknown as Link);
    assert.deepEqual(dialled(), ['a']);
  });

  it('a refused server is dialled again within the round while somebody else is connected', async () => {
    at = { a: 'refuses' };
    start(['a', 'b']);
    round();
    await time.pass(1);
    await accept('b');
    await time.pass(800);
    const times = dials.filter(({ server }) => server === 'a').map((dial) => dial.at);
    // 100, 200, 400 ms after each refusal.
    assert.deepEqual(
      times.map((time) => time - times[0]!).map((time) => Math.round(time / 50) * 50),
      [0, 100, 300, 700],
    );
  });

  it('a round in which everybody refuses fails at once, and says who and why', async () => {
    at = { a: 'refuses', b: 'refuses' };
    start(['a', 'b']);
    round();
    await time.pass(1);
    const { error } = settled[0]!;
    assert.ok(error instanceof ConnectError);
    assert.deepEqual(
      error.failures.map(({ server, reason }) => `${server}: ${reason}`),
      ['nats://a:4222: connection refused', 'nats://b:4222: connection refused'],
    );
    assert.match(error.message, /no server could be reached/);
  });

  it('credentials that are refused everywhere are told as that; one server that refuses them is not waited for', async () => {
    at = { a: 'denies', b: 'denies' };
    start(['a', 'b']);
    round();
    await time.pass(1);
    assert.ok(settled[0]!.error instanceof AuthorizationError);
    search.cancel();
    at = { a: 'denies' };
    start(['a', 'b']);
    round();
    await time.pass(1);
    const b = await accept('b');
    await time.pass(1000);
    assert.equal(dials.filter(({ server }) => server === 'a').length, 2, 'one dial in each race');
    b.answer();
    await time.pass(1);
    assert.ok(settled[1]!.found);
  });

  it('a connection that dies in the race is dialled again, in the next round at the latest', async () => {
    start(['a']);
    round();
    const a = await accept('a');
    a.die();
    await time.pass(1);
    assert.match(settled[0]!.error!.message, /the server closed the connection/);
    round();
    await time.pass(1);
    assert.deepEqual(dialled(), ['a', 'a']);
  });

  it('a winner that dies before it is used is no winner', async () => {
    start(['a']);
    round();
    const a = await accept('a');
    a.answer();
    await time.pass(1);
    a.die();
    assert.equal(search.found, undefined);
    round();
    await time.pass(1);
    assert.deepEqual(dialled(), ['a', 'a']);
  });

  it('two that wait for a round wait for the same one', async () => {
    start(['a']);
    round();
    round();
    const a = await accept('a');
    assert.deepEqual(dialled(), ['a']);
    a.answer();
    await time.pass(1);
    assert.ok(settled[0]!.found && settled[1]!.found);
  });

  it('an answer between two rounds wakes who waits for one', async () => {
    start(['a']);
    round();
    const a = await accept('a');
    await time.pass(2100);
    let woken = false;
    search.onWon = () => (woken = true);
    await time.pass(10);
    assert.equal(woken, false);
    a.answer();
    await time.pass(1);
    assert.equal(woken, true);
  });

  it('gives up a connection that has become deaf, and dials it again', async () => {
    start(['a']);
    round();
    const a = await accept('a');
    await time.pass(1500);
    assert.equal(a.checks, 1);
    a.deaf = true;
    await time.pass(4000);
    assert.equal(a.alive, false);
    round();
    await time.pass(1);
    assert.deepEqual(dialled(), ['a', 'a']);
    assert.deepEqual(failed, ['a']);
  });

  it('keeps one that proves to live, however long there is no leader', async () => {
    start(['a']);
    for (let i = 0; i < 10; i++) {
      round();
      if (i === 0) await accept('a');
      await time.pass(2100);
    }
    assert.deepEqual(dialled(), ['a']);
  });

  it('a winner that nobody has used for long may be deaf, and is looked for again', async () => {
    start(['a']);
    round();
    const first = await accept('a');
    first.answer();
    await time.pass(1);
    search.wasIdle(1000);
    assert.equal(search.found?.link, first as unknown as Link);
    search.wasIdle(1001);
    assert.deepEqual([search.found, first.alive], [undefined, false]);
    round();
    const second = await accept('a');
    second.answer();
    await time.pass(1);
    assert.equal(settled[1]!.found?.link, second as unknown as Link);
  });

  it('runs its rounds by itself when told to, also after its winner has died', async () => {
    start(['a']);
    search.keepOn();
    const refused = dials.length;
    dials.at(-1)!.refuse();
    await time.pass(200);
    assert.ok(dials.length > refused, 'the next round has begun');
    const a = await accept('a');
    a.answer();
    assert.ok(search.found);
    a.die();
    await time.pass(200);
    assert.equal(search.found, undefined);
    assert.equal(dialled().length, refused + 2);
  });

  it('dials in the order of now in each round, and who has joined as well', async () => {
    const servers = ['a'];
    start(servers);
    round();
    dials.at(-1)!.refuse();
    await time.pass(1);
    servers.unshift('b');
    round();
    dials.at(-1)!.refuse();
    await time.pass(1);
    assert.deepEqual(dialled(), ['a', 'b', 'a']);
  });

  it('cancelled, it closes everything and rejects the round', async () => {
    start(['a', 'b']);
    round();
    const a = await accept('a');
    search.cancel();
    await time.pass(1);
    assert.equal(a.alive, false);
    assert.match(settled[0]!.error!.message, /called off/);
    // A dial that succeeds afterwards is closed again.
    await time.pass(500);
    assert.equal(dials.length, 1);
  });

  it('cancelled with its winner kept, it leaves that one alone', async () => {
    start(['a']);
    round();
    const a = await accept('a');
    a.answer();
    await time.pass(1);
    search.cancel(true);
    assert.equal(a.alive, true);
  });

  describe('on servers that look like plain NATS', () => {
    /** Accepted by a, and then by b. */
    const both = async (): Promise<[ScriptedLink, ScriptedLink]> => {
      start(['a', 'b']);
      round();
      const a = await accept('a');
      await time.pass(HEAD_START);
      return [a, await accept('b')];
    };

    it('ends a round when no leader can be behind any of them, and asks again in the next one', async () => {
      plain = { a: true, b: true };
      await both();
      await time.pass(PLAIN_AFTER - HEAD_START - ASK_EVERY);
      assert.deepEqual(askedIfPlain, []);
      await time.pass(HEAD_START + 2 * ASK_EVERY);
      assert.deepEqual(askedIfPlain, ['a', 'b']);
      const { error } = settled[0]!;
      assert.ok(error instanceof ConnectError);
      assert.match(
        error.message,
        /no NATS Streaming server with cluster ID 'c' is there .*a:4222 \(a plain NATS server, version 2.10.7, with JetStream/,
      );
      assert.deepEqual(
        error.failures.map(({ plain }) => plain?.version),
        ['2.10.7', '2.10.7'],
      );
      round();
      await time.pass(PLAIN_AFTER + 2 * ASK_EVERY);
      assert.deepEqual(askedIfPlain, ['a', 'b', 'a', 'b']);
      assert.ok(settled[1]!.error);
    });

    it('goes on for its whole time if one of them is not, cannot be asked, or does not look so', async () => {
      for (const other of [false, new Error('it hung up'), undefined]) {
        plain = { a: true, ...(other !== undefined && { b: other }) };
        settled = [];
        await both();
        await time.pass(1500);
        assert.deepEqual(settled, [{}]);
        await time.pass(500);
        assert.match(
          settled[0]!.error!.message,
          /^connected to nats:\/\/b:4222, but no leader.*; the others: nats:\/\/a:4222 \(a plain/,
        );
        search.cancel();
      }
    });

    it('hears a leader all the same', async () => {
      plain = { a: true, b: true };
      const [a] = await both();
      await time.pass(PLAIN_AFTER - ASK_EVERY);
      a.answer();
      await time.pass(1);
      assert.equal(settled[0]!.found?.link, a as unknown as Link);
    });
  });
});
