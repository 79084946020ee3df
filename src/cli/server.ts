/** `resilient-stan server`: shows what `resolveServer` finds, and how to mend it. */
import { diagnoseServer, resolveServer } from '../testing/index.js';
import { either } from '../option-reader.js';
import { UsageError, type Command } from './usage.js';

const ACTIONS = ['path', 'install', 'doctor'] as const;

export const runServer: Command = async (parse) => {
  const { positionals } = parse({});
  const [action, ...more] = positionals;
  if (more.length > 0) throw new UsageError(`'server ${action}' takes nothing more, not '${more[0]}'`);
  switch (ACTIONS.find((known) => known === action)) {
    case 'path':
      console.log(await resolveServer({ onProgress: () => undefined }));
      return 0;
    case 'install':
      console.log(await resolveServer({ onProgress: (line) => console.error(line) }));
      return 0;
    case 'doctor':
      return await doctor();
    case undefined:
      throw new UsageError(
        `'server' needs one of ${either(ACTIONS)}${action === undefined ? '' : `, not '${action}'`}`,
      );
  }
};

/** Shows each step of the search. The exit code is 0 when a server is found without a download or a build. */
async function doctor(): Promise<number> {
  const results = await diagnoseServer();
  for (const { step, reason, mend, path, version } of results) {
    console.log(path === undefined ? `- ${step}: ${reason}` : `+ ${step}: ${path} (${version})`);
    if (path === undefined && mend !== undefined) console.log(`    ${mend}`);
  }
  const used = results.find(({ path }) => path !== undefined);
  console.log(used === undefined ? 'None at hand: the next start would get one.' : `Used: ${used.path}`);
  return used === undefined ? 1 : 0;
}
