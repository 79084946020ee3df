/** `node .cache/bench/bench/hot.js FILE.cpuprofile…`: shows the time of each function, without idle time. */
import { readFile } from 'node:fs/promises';
import { columns } from './report.js';

interface Profile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  timeDeltas: number[];
}

const IDLE = ['(idle)', '(program)'];
const SHOWN = 40;

for (const file of process.argv.slice(2)) {
  const profile = JSON.parse(await readFile(file, 'utf8')) as Profile;
  const names = new Map<number, string>();
  for (const { id, callFrame } of profile.nodes) {
    const { functionName, url, lineNumber } = callFrame;
    const place = url === '' ? '' : ` ${url.split('/').slice(-2).join('/')}:${lineNumber + 1}`;
    names.set(id, `${functionName || '(anonymous)'}${place}`);
  }
  const self = new Map<string, number>();
  profile.samples.forEach((id, i) => {
    const name = names.get(id) ?? '?';
    self.set(name, (self.get(name) ?? 0) + profile.timeDeltas[i]!);
  });
  const busy = [...self].filter(([name]) => !IDLE.includes(name));
  const total = busy.reduce((sum, [, time]) => sum + time, 0);
  const rows = busy
    .sort(([, a], [, b]) => b - a)
    .slice(0, SHOWN)
    .map(([name, time]) => [name, `${((100 * time) / total).toFixed(1)} %`, `${(time / 1000).toFixed(0)} ms`]);
  console.log(`${file}: ${(total / 1000).toFixed(0)} ms busy`);
  console.log(columns(rows).join('\n'));
}
