/**
 * Every block of every page, in a new project, as a user pastes it. CONTRIBUTING.md says how blocks are written.
 *
 * `PAGES=docs/testing.md,README.md npx mocha test/documents/pages.test.ts` runs those pages only.
 */
import assert from 'node:assert/strict';
import { REASONS } from './blocks.js';
import { Page } from './page.js';
import { PAGES } from './pages.js';
import { DocumentProject } from './project.js';

/** Pages at a time: most of a page is waiting. */
const AT_ONCE = 4;

const wanted = process.env['PAGES']?.split(',');
const pages = PAGES.filter((name) => wanted === undefined || wanted.includes(name)).map((name) => new Page(name));
const withBlocks = pages.filter(({ blocks, faults }) => blocks.length + faults.length > 0);

describe('the pages', () => {
  for (const { name, faults } of withBlocks) {
    it(`${name} says of each block what it is`, () => assert.deepEqual(faults, []));
  }

  describe('as they are pasted into a new project', function () {
    this.timeout(300_000);
    let project: DocumentProject;
    /** By the name of the page: what was wrong, or nothing. They run a few at a time, and their tests wait for them. */
    let outcomes: Map<string, Promise<unknown>>;

    before(async () => {
      project = await DocumentProject.make();
      await project.compile(withBlocks);
      const lanes: Promise<unknown>[] = Array.from({ length: AT_ONCE }, () => Promise.resolve());
      outcomes = new Map(
        withBlocks.map((page, index) => {
          const outcome = lanes[index % AT_ONCE]!.then(() => page.run(project)).then(
            () => undefined,
            (error: unknown) => error,
          );
          lanes[index % AT_ONCE] = outcome;
          return [page.name, outcome];
        }),
      );
    });

    after(async () => {
      await Promise.all(outcomes?.values() ?? []);
      await project?.remove();
    });

    for (const { name, blocks } of withBlocks) {
      const left = blocks.filter(({ notRun }) => notRun !== undefined);
      const but = left.map(({ line, notRun }) => `line ${line} ${REASONS[notRun!]}`).join('; ');
      it(`${name} works${but === '' ? '' : `, as far as it is run: ${but}`}`, async () => {
        const error = await outcomes.get(name);
        if (error !== undefined) throw error;
      });
    }
  });
});
