/** A client over the cut, with two clients that do what the test says. Real ones are in the rehearsal. */
import assert from 'node:assert/strict';
import { Seam } from '../../src/testing/index.js';
import type { CheckedClient } from '../../src/testing/continuity/checked-client.js';
import { deferred } from '../support/clients.js';

const client = (publish: () => Promise<void>): CheckedClient => ({ publish, subscribe: async () => undefined });

describe('a client over the cut', () => {
  it('holds its publishers until the publishes under way are settled, whoever asks and however often', async () => {
    const stored = deferred<void>();
    const seam = new Seam(client(() => stored.promise));
    const underWay = seam.publish('orders', 'one');
    const held = Promise.all([seam.hold(), seam.hold()]);
    stored.resolve();
    await Promise.all([underWay, held]);
    const texts: string[] = [];
    const after = {
      ...client(async () => undefined),
      publish: async (_: string, text: string) => void texts.push(text),
    };
    const waiting = seam.publish('orders', 'two');
    assert.deepEqual(texts, []);
    await seam.cross(after);
    await waiting;
    assert.deepEqual(texts, ['two']);
  });
});
