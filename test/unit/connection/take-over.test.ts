/**
 * Whose a registration is, against a scripted leader: answers that do not come and connections that end in the middle of a
 * take-over are what a real server cannot be made to do on demand.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { claimed, takeOver, type Registration, type TakeOverPath } from '../../../src/connection/take-over.js';

const ID = (n: number): Uint8Array => Buffer.from(`id-${n}`);
const text = (id: Uint8Array): string => Buffer.from(id).toString();

/** What becomes of a question: it is answered, lost, or it ends the connection, before or after the leader has worked on it. */
type Fate = 'answered' | 'lost' | 'answer lost' | 'ended' | 'ended after';

/** A leader that knows one registration of the client ID. */
class Leader {
  owner: string | undefined;
  asked = 0;
  closes = 0;
  constructor(owner: Uint8Array | undefined) {
    this.owner = owner && text(owner);
  }

  path(fates: readonly Fate[] = []): TakeOverPath {
    const left = [...fates];
    let alive = true;
    const work = <T>(what: () => T): Promise<T> => {
      const fate = left.shift() ?? 'answered';
      const result = fate === 'lost' || fate === 'ended' ? undefined : what();
      if (fate.startsWith('ended')) alive = false;
      return fate === 'answered' ? Promise.resolve(result as T) : Promise.reject(new Error(fate));
    };
    return {
      get alive() {
        return alive;
      },
      isRegistered: (_cluster, id) =>
        work(() => {
          this.asked++;
          return this.owner === text(id);
        }),
      closeRegistration: () =>
        work(() => {
          this.closes++;
          this.owner = undefined;
        }),
    };
  }
}

const registration = (): Registration => ({ connectionId: ID(1), closeSubject: 'close' });
const try_ = (leader: Leader, lost: Registration, fates: readonly Fate[] = []): Promise<boolean> =>
  takeOver(
    leader.path(fates),
    lost,
    {
      ...{ clusterId: 'cluster', clientId: 'client', connectTimeout: 2000, roundTrip: 1 },
      registered: leader.owner === text(lost.connectionId),
    },
    new AbortController().signal,
  );

describe('a take-over', () => {
  it('closes what is ours, and nobody else has had it', async () => {
    const leader = new Leader(ID(1));
    assert.equal(await try_(leader, registration()), true);
    assert.equal(leader.owner, undefined);
  });

  it('never closes what another client has', async () => {
    const leader = new Leader(ID(7));
    assert.equal(await try_(leader, registration()), false);
    assert.equal(leader.owner, 'id-7');
  });

  it('asks again when one question is lost, and does not take the silence for another client', async () => {
    const leader = new Leader(ID(1));
    assert.equal(await try_(leader, registration(), ['lost']), true);
    assert.equal(leader.closes, 1);
  });

  it('fails when the leader does not say whose it is, so that it is looked for again', async () => {
    await assert.rejects(try_(new Leader(ID(1)), registration(), ['lost', 'lost']), /lost/);
  });

  it('knows after two ended connections that the registration is still ours, and does not close it a third time', async () => {
    const leader = new Leader(ID(1));
    const lost = registration();
    await assert.rejects(try_(leader, lost, ['ended']));
    await assert.rejects(try_(leader, lost, ['answered', 'ended']));
    assert.equal(await try_(leader, lost), true);
    assert.equal(leader.closes, 0);
  });

  it('knows that its own close request took the registration away, if the connect request behind it was lost', async () => {
    const leader = new Leader(ID(1));
    const lost = registration();
    assert.equal(await try_(leader, lost, ['answered', 'answer lost']), true);
    claimed(lost, ID(2));
    assert.equal(await try_(leader, lost), true);
  });

  it('knows a connect request of its own that was granted without an answer, and closes it', async () => {
    const leader = new Leader(ID(1));
    const lost = registration();
    assert.equal(await try_(leader, lost), true);
    claimed(lost, ID(2));
    leader.owner = 'id-2';
    assert.equal(await try_(leader, lost), true);
    assert.equal(leader.closes, 2);
  });

  it('believes a server that says somebody else has the client ID', async () => {
    const leader = new Leader(ID(1));
    const lost = registration();
    await try_(leader, lost);
    lost.released = false;
    assert.equal(await try_(leader, lost), false);
  });

  it('is continued whatever is lost or ended while there is no other client', async () => {
    const fate = fc.constantFrom<Fate>('answered', 'lost', 'answer lost', 'ended', 'ended after');
    const attempt = fc.record({ fates: fc.array(fate, { maxLength: 4 }), granted: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(attempt, { minLength: 1, maxLength: 6 }), async (attempts) => {
        const leader = new Leader(ID(1));
        const lost = registration();
        let next = 2;
        for (const { fates, granted } of attempts) {
          const continued = await try_(leader, lost, fates).catch(() => undefined);
          if (continued === undefined) continue;
          assert.equal(continued, true);
          const id = ID(next++);
          claimed(lost, id);
          if (granted) leader.owner = text(id);
        }
      }),
    );
  });

  it('is never continued over a client that has the ID, and never closes it', async () => {
    const fate = fc.constantFrom<Fate>('answered', 'lost', 'answer lost', 'ended', 'ended after');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(fate, { maxLength: 4 }), { minLength: 1, maxLength: 6 }), async (attempts) => {
        const leader = new Leader(ID(7));
        const lost = registration();
        for (const fates of attempts) {
          assert.notEqual(await try_(leader, lost, fates).catch(() => undefined), true);
          assert.equal(leader.owner, 'id-7');
        }
      }),
    );
  });
});
