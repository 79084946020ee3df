/**
 * Gets the servers that the tests start, before the tests run: to build one takes minutes on a new machine, and no test has to wait
 * for that.
 */
import { resolveServer } from '../../src/testing/index.js';

for (const program of ['nats-streaming-server', 'nats-server'] as const) {
  await resolveServer({ program, onProgress: (line: string) => console.log(line) });
}
