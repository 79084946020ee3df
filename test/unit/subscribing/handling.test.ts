import assert from 'node:assert/strict';
import { Handling, type HandlingHost } from '../../../src/subscribing/handling.js';
import type { ReceivedMessage } from '../../../src/subscribing/message.js';

class Host implements HandlingHost {
  readonly log: string[] = [];
  rest: Promise<void> | undefined;

  starting(message: ReceivedMessage): void {
    this.log.push(`start ${message.sequence}`);
  }

  processed(message: ReceivedMessage): void {
    this.log.push(`done ${message.sequence}`);
  }

  failed(message: ReceivedMessage): Promise<void> | undefined {
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
    let release!: () => void;
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
    release();
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(host.log, ['start 1', 'failed 1', 'start 2', 'done 2']);
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
});
