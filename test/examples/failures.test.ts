/** docs/failures.md shows what still happens: a few of its runs once more. `npm run failures` does all of them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { eventsShown, runOf, withRun } from '../failures/page.js';
import { Lab, SCENARIOS } from '../failures/scenarios.js';

const PAGE = readFileSync(new URL('../../docs/failures.md', import.meta.url), 'utf8');
const first = (name: string, index: number, names: readonly string[]): boolean => names.indexOf(name) === index;

describe('what docs/failures.md shows', function () {
  this.timeout(180_000);
  const lab = new Lab();
  afterEach(() => lab.tidy());
  after(() => lab.stop());

  // Those of a single server, which take a second or two.
  for (const id of ['credentials-refused', 'server-forgets', 'messages-dropped']) {
    const scenario = SCENARIOS.find((each) => each.id === id)!;
    it(scenario.title, async () => {
      const shown = eventsShown(runOf(PAGE, id)!);
      const seen = eventsShown(runOf(withRun(PAGE, id, await scenario.run(lab)), id)!);
      assert.deepEqual([...new Set(seen)].sort(), [...new Set(shown)].sort());
      // Messages have an order of their own beside that of the session.
      const ofSession = (names: string[]): string[] =>
        names.filter(first).filter((name) => !/^(gap|reset)$/.test(name));
      assert.deepEqual(ofSession(seen), ofSession(shown));
    });
  }
});
