/** `npm run docs` makes a site without a warning, and all links in it lead somewhere. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Application, TSConfigReader, TypeDocReader } from 'typedoc';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

describe('the site', function () {
  this.timeout(600_000);
  let dir: string;
  let files: Set<string>;
  const pages = new Map<string, string>();

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'resilient-stan-site-'));
    const app = await Application.bootstrapWithPlugins(
      // The types are checked by the linter, and take most of the time.
      { options: join(ROOT, 'typedoc.json'), skipErrorChecking: true, logLevel: 'Warn' },
      [new TypeDocReader(), new TSConfigReader()],
    );
    const project = (await app.convert()) ?? assert.fail('typedoc made nothing of the sources');
    app.validate(project);
    await app.generateDocs(project, dir);
    assert.equal(app.logger.warningCount + app.logger.errorCount, 0, 'see the warnings above');
    files = new Set(readdirSync(dir, { recursive: true }).map(String));
    for (const name of files) if (name.endsWith('.html')) pages.set(name, readFileSync(join(dir, name), 'utf8'));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  it('has the guides and the API', () => {
    const names = [...pages.keys()];
    for (const wanted of [/^index\.html$/, /Getting_started/i, /Troubleshooting/i, /ResilientStan\.html$/]) {
      assert.ok(
        names.some((name) => wanted.test(name)),
        `no page ${wanted} among ${names.length}`,
      );
    }
  });

  it('has no link that leads nowhere', () => {
    const ids = new Map<string, Set<string>>();
    const idsOf = (name: string): Set<string> => {
      let found = ids.get(name);
      if (found === undefined) {
        found = new Set([...(pages.get(name) ?? '').matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id!));
        ids.set(name, found);
      }
      return found;
    };
    const broken: string[] = [];
    let links = 0;
    for (const [name, html] of pages) {
      for (const [, target] of html.matchAll(/\s(?:href|src)="(?!https?:|mailto:|data:)([^"]*)"/g)) {
        const [path = '', anchor] = decodeURI(target!).split('#');
        const [bare = ''] = path.split('?');
        const file = bare === '' ? name : relative(dir, join(dir, dirname(name), bare));
        links++;
        if (file !== '' && !files.has(file)) broken.push(`${name}: ${target}`);
        else if (anchor && pages.has(file) && !idsOf(file).has(anchor)) broken.push(`${name}: ${target}`);
      }
    }
    assert.ok(links > 1000, `${links} links`);
    assert.deepEqual([...new Set(broken)], []);
  });
});
