import fc from 'fast-check';
import { CHANNELS, type Command, ERRORS, type Plan, Simulation } from './simulation.js';

/** Cases per combination of options; more for a longer search. */
const RUNS = Number(process.env['PUBLISHER_MODEL_RUNS'] ?? 500);

const count = fc.integer({ min: 1, max: 4 });
const signal = fc.constantFrom(0, 1);

const publish = fc.record({
  op: fc.constant('publish' as const),
  channel: fc.nat(CHANNELS.length - 1),
  size: fc.oneof({ weight: 5, arbitrary: fc.nat(12) }, { weight: 1, arbitrary: fc.integer({ min: 20, max: 130 }) }),
  timeout: fc.oneof(
    { weight: 4, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.constantFrom(1, 30, 300, 3000) },
  ),
  signal: fc.oneof({ weight: 5, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: signal }),
  bytes: fc.boolean(),
});

const deny = fc.record({
  op: fc.constant('deny' as const),
  channel: fc.nat(CHANNELS.length - 1),
  ends: fc.boolean(),
  late: fc.boolean(),
});

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 14, arbitrary: publish },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('attach' as const), small: fc.nat(9).map((n) => n === 0) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('lose' as const), stored: fc.nat(3), late: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constant('serve' as const), count }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constantFrom('mute' as const, 'drop' as const, 'delay' as const), count }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('thaw' as const),
      error: fc.integer({ min: -5, max: ERRORS.length - 1 }),
      count,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('refuse' as const),
      error: fc.nat(ERRORS.length - 1),
      count: fc.constantFrom(1, 1, 2, 5),
      stored: fc.boolean(),
    }),
  },
  { weight: 5, arbitrary: fc.constantFrom('pause', 'probe', 'flush').map((op) => ({ op })) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('resume' as const), missed: fc.boolean() }) },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant('calm' as const), ms: fc.constantFrom(50, 200, 500, 1500, 1500) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('down' as const),
      channel: fc.nat(CHANNELS.length - 1),
      down: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('over' as const),
      channel: fc.nat(CHANNELS.length - 1),
      over: fc.boolean(),
    }),
  },
  { weight: 5, arbitrary: fc.record({ op: fc.constant('batch' as const), count: fc.constantFrom(1, 2, 3, 8) }) },
  {
    weight: 5,
    arbitrary: fc.record({ op: fc.constant('advance' as const), ms: fc.constantFrom(1, 20, 60, 110, 450, 1100, 5100) }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('abort' as const), signal }) },
  { weight: 1, arbitrary: deny },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('instant' as const), count }) },
  { weight: 1, arbitrary: fc.constant({ op: 'suddenDeath' as const }) },
);

function plan(ordering: Plan['ordering'], whenFull: Plan['whenFull']): fc.Arbitrary<Plan> {
  return fc.record({
    ordering: fc.constant(ordering),
    whenFull: fc.constant(whenFull),
    maxInFlight: fc.constantFrom(1, 2, 3, 100),
    commands: fc
      .tuple(fc.array(command, { minLength: 10, maxLength: 80, size: 'max' }), fc.nat(9))
      .map(([commands, stop]) =>
        stop === 0 ? [...commands, { op: 'stop' as const }, ...commands.slice(0, 5)] : commands,
      ),
    ending: fc.constantFrom('same session' as const, 'new sessions' as const, 'close' as const),
  });
}

describe('Publisher: whatever happens', () => {
  for (const ordering of ['pipelined', 'strict'] as const) {
    for (const whenFull of ['reject', 'wait'] as const) {
      it(`keeps its promises: ${ordering}, ${whenFull} when full`, async () => {
        await fc.assert(
          fc.asyncProperty(plan(ordering, whenFull), async (plan) => {
            await new Simulation(plan).run();
          }),
          { numRuns: RUNS },
        );
      });
    }
  }
});
