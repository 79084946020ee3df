import assert from 'node:assert/strict';
import { StateMachine, TRANSITIONS, type ConnectionState } from '../../../src/connection/states.js';

/** A way from `connecting` to every state. */
const PATHS: Record<ConnectionState, ConnectionState[]> = {
  connecting: [],
  connected: ['connected'],
  reconnecting: ['connected', 'reconnecting'],
  closing: ['closing'],
  closed: ['closing', 'closed'],
};
const STATES = Object.keys(PATHS) as ConnectionState[];

describe('connection states', () => {
  for (const from of STATES) {
    for (const to of STATES) {
      const legal = TRANSITIONS[from].includes(to);
      it(`${from} -> ${to} is ${legal ? 'told' : 'a bug, and throws'}`, () => {
        const changes: string[] = [];
        const machine = new StateMachine((a, b) => changes.push(`${a}>${b}`));
        for (const step of PATHS[from]) machine.to(step);
        changes.length = 0;
        if (legal) {
          machine.to(to);
          assert.equal(machine.state, to);
          assert.deepEqual(changes, [`${from}>${to}`]);
        } else {
          assert.throws(() => machine.to(to), { code: 'ERR_STAN_INTERNAL', message: new RegExp(`${from} -> ${to}`) });
          assert.equal(machine.state, from);
          assert.deepEqual(changes, []);
        }
      });
    }
  }

  it('every state but closed leads to closed', () => {
    for (const state of STATES) {
      if (state === 'closed') assert.deepEqual(TRANSITIONS.closed, []);
      else
        assert.ok(
          state === 'closing' ? TRANSITIONS.closing.includes('closed') : TRANSITIONS[state].includes('closing'),
        );
    }
  });
});
