/** A few of the cases of `npm run matrix`: a bundle that runs alone, the oldest TypeScript, and Jest. */
import { GROUPS } from '../matrix/cases.js';
import { Matrix } from '../matrix/matrix.js';
import type { Project } from '../matrix/project.js';

const CASES = {
  esbuild: ['import', 'require', 'verify'],
  'ts-5.0': ['node10'],
  'jest-30': ['require', 'import'],
};

describe('the package outlives a leader, loaded by', function () {
  this.timeout(300_000);

  let matrix: Matrix;
  before(async () => {
    matrix = await Matrix.start();
  });
  after(() => matrix.stop());

  for (const [id, names] of Object.entries(CASES)) {
    const group = GROUPS.find((group) => group.id === id)!;

    describe(id, () => {
      let project: Project;
      before(async () => {
        project = await matrix.install(group);
      });
      after(() => matrix.clear(group));

      for (const name of names) it(name, () => matrix.run(group, name, project));
    });
  }
});
