import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { Handling, type HandlingHost } from '../../../src/subscribing/handling.js';
import type { ReceivedMessage } from '../../../src/subscribing/message.js';

class Host implements HandlingHost {
  readonly log: string[] = [];
  rest: Promise<boolean> | undefined;

  starting(message: ReceivedMessage): void {
    this.log.push(`start ${message.sequence}`);
  }

  pending(): void {}

  processed(message: ReceivedMessage): void {
    this.log.push(`done ${message.sequence}`);
  }

  failed(message: ReceivedMessage): Promise<boolean> | undefined {
    this.log.push(`failed ${message.sequence}`);
    return this.rest;
  }
}

const message = (sequence: number): ReceivedMessage => ({ sequence }) as ReceivedMessage;

describe('handling', () => {
  it('keeps the order when a handler is given more while it runs', () => {
    const host = new Host();
    const handling = new Handling(
      host,
      ({ sequence }) => {
        if (sequence === 1) for (const next of [2, 3]) handling.push(message(next));
      },
      1,
    );
    handling.open();
    handling.push(message(1));
    assert.deepEqual(host.log, ['start 1', 'done 1', 'start 2', 'done 2', 'start 3', 'done 3']);
    assert.equal(handling.running, 0);
  });

  it('starts nothing before it is opened, or after it was stopped', async () => {
    const host = new Host();
    let release!: () => void;
    const handling = new Handling(host, () => new Promise((resolve) => (release = resolve)), 1);
    handling.push(message(1));
    handling.push(message(2));
    assert.deepEqual(host.log, []);
    handling.open();
    assert.deepEqual(host.log, ['start 1']);
    assert.deepEqual(
      handling.stop().map(({ sequence }) => sequence),
      [2],
    );
    handling.push(message(3));
    const idle = handling.idle();
    release();
    await idle;
    assert.deepEqual(host.log, ['start 1', 'done 1']);
    await handling.idle();
  });

  it('keeps its place until a failed message is seen to', async () => {
    const host = new Host();
    let release!: (again: boolean) => void;
    host.rest = new Promise((resolve) => (release = resolve));
    const handling = new Handling(
      host,
      ({ sequence }) => {
        if (sequence === 1) throw new Error('no');
      },
      1,
    );
    handling.open();
    handling.push(message(1));
    handling.push(message(2));
    assert.deepEqual(host.log, ['start 1', 'failed 1']);
    release(false);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(host.log, ['start 1', 'failed 1', 'start 2', 'done 2']);
  });

  it('calls the handler again where that is wanted, and what is behind waits', async () => {
    const host = new Host();
    const again: ((again: boolean) => void)[] = [];
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    for (const asynchronous of [false, true]) {
      host.log.length = again.length = 0;
      let calls = 0;
      const handling: Handling = new Handling(
        host,
        ({ sequence }) => {
          host.rest = new Promise((resolve) => again.push(resolve));
          const fails = sequence === 1 && ++calls < 3;
          assert.equal(handling.calling?.sequence, sequence);
          if (asynchronous) return fails ? Promise.reject(new Error('no')) : Promise.resolve();
          if (fails) throw new Error('no');
        },
        1,
      );
      handling.open();
      for (const sequence of [1, 2]) handling.push(message(sequence));
      await turn();
      assert.deepEqual(host.log, ['start 1', 'failed 1']);
      again[0]!(true);
      await turn();
      assert.deepEqual(host.log.slice(2), ['start 1', 'failed 1']);
      assert.equal(handling.running, 1);
      let idle = false;
      void handling.idle().then(() => (idle = true));
      again[1]!(true);
      await turn();
      assert.deepEqual(host.log.slice(4), ['start 1', 'done 1', 'start 2', 'done 2']);
      assert.deepEqual([handling.running, idle], [0, true]);
    }
  });

  it('calls the handler in the async context in which it was made, however it comes to that', async () => {
    const context = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const ends: (() => void)[] = [];
    const handling = context.run('subscribe', () => {
      return new Handling(
        new Host(),
        async ({ sequence }) => {
          seen.push(`${sequence} ${context.getStore()}`);
          await new Promise<void>((resolve) => ends.push(resolve));
          seen.push(`${sequence} ${context.getStore()}`);
        },
        1,
      );
    });
    await context.run('session', async () => {
      handling.push(message(1));
      handling.open();
      handling.push(message(2));
      for (let i = 0; i < 2; i++) {
        ends[i]!();
        await new Promise((resolve) => setImmediate(resolve));
      }
      handling.push(message(3));
    });
    assert.deepEqual(seen, ['1 subscribe', '1 subscribe', '2 subscribe', '2 subscribe', '3 subscribe']);
  });

  it('runs so many at a time', async () => {
    const host = new Host();
    const releases: (() => void)[] = [];
    const handling = new Handling(host, () => new Promise((resolve) => releases.push(resolve)), 2);
    handling.open();
    for (let n = 1; n <= 4; n++) handling.push(message(n));
    assert.equal(handling.running, 2);
    releases[1]!();
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(host.log, ['start 1', 'start 2', 'done 2', 'start 3']);
  });

  it('knows who calls, before the first await, and lets him wait for the others only', async () => {
    const host = new Host();
    const ends = new Map<number, () => void>();
    const log: string[] = [];
    const handling: Handling = new Handling(
      host,
      async ({ sequence }) => {
        if (sequence === 2) {
          const caller = handling.calling;
          assert.equal(caller?.sequence, 2);
          void handling.idle(caller).then(() => log.push('the others'));
          void handling.idle().then(() => log.push('all'));
        }
        await new Promise<void>((resolve) => ends.set(sequence, resolve));
        assert.equal(handling.calling, undefined);
      },
      3,
    );
    handling.open();
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    for (const sequence of [1, 2, 3]) handling.push(message(sequence));
    ends.get(1)!();
    await turn();
    assert.deepEqual(log, []);
    // When the one that waits is through before the others, they are waited for all the same.
    ends.get(2)!();
    await turn();
    assert.deepEqual(log, []);
    ends.get(3)!();
    await turn();
    assert.deepEqual(log, ['the others', 'all']);
    assert.equal(handling.calling, undefined);
  });
});
