import assert from 'node:assert/strict';
import { LOG_LEVELS, safeLogger } from '../../src/logger.js';
import { resolveConnectOptions } from '../../src/options.js';

describe('safeLogger', () => {
  it('has all functions, whatever the logger has', () => {
    const logger = safeLogger({ warn: () => undefined });
    for (const level of LOG_LEVELS) logger[level]('x');
    for (const level of LOG_LEVELS) safeLogger(undefined)[level]('x', {});
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
