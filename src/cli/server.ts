/** `resilient-stan server`: shows what `resolveServer` finds, and how to mend it. */
import { diagnoseServer, resolveServer, type ResolveServerOptions, type ServerProgram } from '../testing/index.js';
import { defineCommand, type Options } from './command.js';
import { UsageError } from './usage.js';

const OPTIONS = {
  program: {
    type: 'string',
    value: '<name>',
    help: 'nats-streaming-server (default), or nats-server, to which a move to JetStream leads',
    choices: ['nats-streaming-server', 'nats-server'],
  },
  release: { type: 'string', value: '<version>', help: 'the version of nats-server, as 2.12.15 (default 2.15.2)' },
} as const satisfies Options;

export const serverCommand = defineCommand({
  name: 'server',
  summary: 'find or get the servers that the harness starts: nats-streaming-server, nats-server',
  about: [
    'path prints the path of the server that would be used, and gets one if need be. install does the same and shows its ' +
      'progress. doctor shows every place where one is looked for, and how to mend what is wrong: its exit code is 0 when ' +
      'there is one without a download or a build.',
  ],
  positionals: [{ name: 'action', help: 'path, install or doctor', choices: ['path', 'install', 'doctor'] }],
  options: OPTIONS,
  examples: [
    { command: 'resilient-stan server install', what: 'the streaming server, before the first test needs it' },
    {
      command: 'resilient-stan server install --program nats-server --release 2.12.15',
      what: 'for a rehearsal of a move with that version',
    },
  ],
  async run({ program = 'nats-streaming-server', release }, [action]) {
    if (release !== undefined && program !== 'nats-server') {
      throw new UsageError(
        '--release is for --program nats-server: of nats-streaming-server there is one version only',
      );
    }
    const wanted: ResolveServerOptions = {
      program: program as ServerProgram,
      ...(release !== undefined && { version: release }),
    };
    if (action === 'doctor') return await doctor(wanted);
    const onProgress = action === 'install' ? (line: string) => console.error(line) : () => undefined;
    console.log(await resolveServer({ ...wanted, onProgress }));
    return 0;
  },
});

/** Shows each step of the search. The exit code is 0 when a server is found without a download or a build. */
async function doctor(wanted: ResolveServerOptions): Promise<number> {
  const results = await diagnoseServer(wanted);
  for (const { step, reason, mend, path, version } of results) {
    console.log(path === undefined ? `- ${step}: ${reason}` : `+ ${step}: ${path} (${version})`);
    if (path === undefined && mend !== undefined) console.log(`    ${mend}`);
  }
  const used = results.find(({ path }) => path !== undefined);
  console.log(used === undefined ? 'None at hand: the next start would get one.' : `Used: ${used.path}`);
  return used === undefined ? 1 : 0;
}
