/** `resilient-stan server`: shows what `resolveServer` finds, and how to mend it. */
import { diagnoseServer, resolveServer } from '../testing/index.js';
import { defineCommand } from './command.js';

export const serverCommand = defineCommand({
  name: 'server',
  summary: 'find or get the nats-streaming-server that the harness starts',
  about: [
    'path prints the path of the server that would be used, and gets one if need be. install does the same and shows its ' +
      'progress. doctor shows every place where one is looked for, and how to mend what is wrong: its exit code is 0 when ' +
      'there is one without a download or a build.',
  ],
  positionals: [{ name: 'action', help: 'path, install or doctor', choices: ['path', 'install', 'doctor'] }],
  options: {},
  async run(_, [action]) {
    if (action === 'doctor') return await doctor();
    const onProgress = action === 'install' ? (line: string) => console.error(line) : () => undefined;
    console.log(await resolveServer({ onProgress }));
    return 0;
  },
});

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
