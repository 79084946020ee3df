/** What is spent on each message for nothing, so that the gate can be seen to close. */
let turns = 0;
let pointers = 0;
let kept: unknown;
let state = 1;

/** A loop, because a look at the clock costs as much as there is to spend, and garbage besides. */
function turn(times: number): void {
  for (let i = 0; i < times; i++) state = (Math.imul(state, 1_103_515_245) + 12_345) | 0;
}

function turnsPerMicrosecond(): number {
  const times = 20_000_000;
  turn(times);
  const before = process.cpuUsage();
  turn(times);
  return times / process.cpuUsage(before).user;
}

/** @param more CPU time in µs and bytes of garbage, both a message */
export function worsen({ cpu, bytes }: { cpu: number; bytes: number }): void {
  turns = cpu === 0 ? 0 : Math.round(cpu * turnsPerMicrosecond());
  pointers = Math.round(bytes / 8);
}

export function spend(): void {
  if (pointers > 0) kept = new Array(pointers);
  if (turns > 0) turn(turns);
}

/** What keeps the compiler from leaving it all out. */
export const spent = (): unknown => [state, kept];
