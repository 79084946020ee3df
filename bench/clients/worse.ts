/** Spends time and memory on each message for nothing, to show that the gate then fails. */
let turns = 0;
let pointers = 0;
let kept: unknown;
let state = 1;

/** Spends time in a loop. Reading the clock would cost as much, and make garbage. */
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

/** It keeps the compiler from leaving the loop out. */
export const spent = (): unknown => [state, kept];
