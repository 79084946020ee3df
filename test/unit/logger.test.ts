import assert from 'node:assert/strict';
import { Console } from 'node:console';
import { Writable } from 'node:stream';
import pino from 'pino';
import winston from 'winston';
import { ClosedError, type ConnectOptions } from '../../src/index.js';
import { LOG_LEVELS, safeLogger, type ResolvedLogger } from '../../src/logger.js';
import { resolveConnectOptions } from '../../src/options.js';

describe('safeLogger', () => {
  it('has all functions, whatever the logger has', () => {
    const logger = safeLogger({ warn: () => undefined });
    for (const level of LOG_LEVELS) logger[level]?.('x');
    for (const level of LOG_LEVELS) safeLogger(undefined)[level]?.('x', {});
  });

  it('has no debug function if nobody reads it, so that its lines are not even made', () => {
    assert.equal(safeLogger(undefined).debug, undefined);
    assert.equal(safeLogger({ warn: () => undefined }).debug, undefined);
    let made = 0;
    const text = (): string => `line ${++made}`;
    safeLogger({ warn: () => undefined }).debug?.(text());
    assert.equal(made, 0);
    const read: string[] = [];
    safeLogger({ debug: (line) => read.push(line) }).debug?.(text());
    assert.deepEqual(read, ['line 1']);
  });

  it("calls the logger's own functions, with its this and what was said", () => {
    class Collector {
      readonly lines: unknown[] = [];
      info(...line: unknown[]) {
        this.lines.push(line);
      }
    }
    const collector = new Collector();
    const logger = safeLogger(collector);
    logger.info('up');
    logger.info('up', { server: 'a' });
    assert.deepEqual(collector.lines, [['up'], ['up', { server: 'a' }]]);
  });

  it('throws nothing, and leaves no rejection behind', async () => {
    const rejections: unknown[] = [];
    const onRejection = (reason: unknown) => rejections.push(reason);
    process.on('unhandledRejection', onRejection);
    try {
      const logger = safeLogger({
        error: () => {
          throw new Error('the disk is full');
        },
        // eslint-disable-next-line @typescript-eslint/no-misused-promises -- what a careless user may pass
        warn: () => Promise.reject(new Error('the network is down')),
      });
      logger.error('x');
      logger.warn('x');
      // Rejections without a handler are told when the microtasks are done.
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual(rejections, []);
    } finally {
      process.off('unhandledRejection', onRejection);
    }
  });

  it('takes the console', () => {
    assert.equal(typeof resolveConnectOptions('a', { logger: console }).logger.debug, 'function');
  });
});

describe('a line of the log', () => {
  /** A stream that keeps its lines. */
  const sink = (): { stream: Writable; lines: string[] } => {
    const lines: string[] = [];
    const stream = new Writable({
      write(chunk: Buffer, _encoding, done) {
        lines.push(...chunk.toString().trimEnd().split('\n'));
        done();
      },
    });
    return { stream, lines };
  };
  /** As a client gets it. */
  const resolved = (logger: ConnectOptions['logger']): ResolvedLogger =>
    resolveConnectOptions('a', { clientId: 'orders-1', logger }).logger;
  const error = new ClosedError('over', { cause: new Error('why') });
  const speak = (logger: ResolvedLogger): void => {
    logger.info('up', { server: 'nats://a:4222' });
    logger.warn('alone');
    logger.error('over', { error });
  };
  const parsed = (lines: string[]): Record<string, unknown>[] =>
    lines.map((line) => JSON.parse(line) as Record<string, unknown>);

  it('has the client ID and the details behind the text, for most loggers', () => {
    const lines: unknown[][] = [];
    const add = (...line: unknown[]): void => void lines.push(line);
    speak(resolved({ info: add, warn: add, error: add }));
    assert.deepEqual(lines, [
      ['up', { clientId: 'orders-1', server: 'nats://a:4222' }],
      ['alone', { clientId: 'orders-1' }],
      ['over', { clientId: 'orders-1', error }],
    ]);
  });

  it('is right on the console', () => {
    const { stream, lines } = sink();
    speak(resolved(new Console(stream)));
    assert.equal(lines[0], "up { clientId: 'orders-1', server: 'nats://a:4222' }");
    assert.equal(lines[1], "alone { clientId: 'orders-1' }");
    assert.match(lines.join('\n'), /over \{\n {2}clientId: 'orders-1',\n {2}error: ClosedError: over/);
  });

  it('is right in pino, which takes the object first, and in a child of it', () => {
    const { stream, lines } = sink();
    const logger = pino({ base: null }, stream);
    speak(resolved(logger));
    speak(resolved(logger.child({ part: 'x' })));
    const [up, alone, over, child] = parsed(lines);
    assert.deepEqual([up!.msg, up!.clientId, up!.server], ['up', 'orders-1', 'nats://a:4222']);
    assert.deepEqual([alone!.msg, alone!.clientId], ['alone', 'orders-1']);
    assert.deepEqual([over!.msg, over!.clientId], ['over', 'orders-1']);
    const shown = over!.err as Record<string, unknown>;
    assert.deepEqual([shown.type, shown.code], ['ClosedError', 'ERR_STAN_CLOSED']);
    assert.match(String(shown.stack), /caused by/);
    assert.deepEqual([child!.msg, child!.clientId, child!.part], ['up', 'orders-1', 'x']);
  });

  it('is right in winston', () => {
    const { stream, lines } = sink();
    const transports = [new winston.transports.Stream({ stream })];
    speak(resolved(winston.createLogger({ format: winston.format.json(), transports })));
    const [up, alone, over] = parsed(lines);
    assert.deepEqual(up, { level: 'info', message: 'up', clientId: 'orders-1', server: 'nats://a:4222' });
    assert.deepEqual(alone, { level: 'warn', message: 'alone', clientId: 'orders-1' });
    assert.equal(over!.clientId, 'orders-1');
    assert.equal((over!.error as { code: string }).code, 'ERR_STAN_CLOSED');
  });

  // A fake: bunyan builds native code when it is installed. These are the properties that it is known by, and its order.
  it('is right in bunyan, which takes the object first', () => {
    const lines: unknown[][] = [];
    class Bunyan {
      readonly fields = { name: 'app' };
      addSerializers(): void {}
      error(fields: object, text: string): void {
        lines.push([{ ...this.fields, ...fields }, text]);
      }
    }
    resolved(new Bunyan() as unknown as ConnectOptions['logger']).error('over', { error });
    assert.deepEqual(lines, [[{ name: 'app', clientId: 'orders-1', err: error }, 'over']]);
  });

  it('comes although the logger cannot be asked what it is', () => {
    const lines: unknown[][] = [];
    const logger = {
      get addSerializers(): never {
        throw new Error('no');
      },
      warn: (...line: unknown[]) => void lines.push(line),
    };
    resolved(logger).warn('x');
    assert.deepEqual(lines, [['x', { clientId: 'orders-1' }]]);
  });
});
