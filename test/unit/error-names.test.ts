import assert from 'node:assert/strict';
import { ClosedError, InvalidArgumentError, ResilientStanError, type ErrorCode } from '../../src/index.js';
import * as root from '../../src/index.js';
import * as migrate from '../../src/migrate/index.js';
import * as testing from '../../src/testing/index.js';

/** All codes. The compiler says so when one is missing. */
const CODES: Record<ErrorCode, true> = {
  ERR_STAN_INVALID_ARGUMENT: true,
  ERR_STAN_PAYLOAD_TOO_LARGE: true,
  ERR_STAN_CONNECT: true,
  ERR_STAN_AUTHORIZATION: true,
  ERR_STAN_PERMISSION: true,
  ERR_STAN_CLIENT_ID_CONFLICT: true,
  ERR_STAN_CONNECTION_LOST: true,
  ERR_STAN_OUTBOX_FULL: true,
  ERR_STAN_PUBLISH_TIMEOUT: true,
  ERR_STAN_PUBLISH_REJECTED: true,
  ERR_STAN_SUBSCRIBE: true,
  ERR_STAN_TIMEOUT: true,
  ERR_STAN_ABORTED: true,
  ERR_STAN_CLOSED: true,
  ERR_STAN_CALLBACK: true,
  ERR_STAN_SERVER_BINARY: true,
  ERR_STAN_SERVER_START: true,
  ERR_STAN_PEER_MISSING: true,
  ERR_STAN_MIGRATION_SOURCE: true,
  ERR_STAN_MIGRATION_TARGET: true,
  ERR_STAN_INTERNAL: true,
};

describe('the name of an error', () => {
  for (const code of Object.keys(CODES) as ErrorCode[]) {
    it(`is that of the class, for ${code}`, () => {
      const { name } = new ResilientStanError(code, 'text');
      const found = ({ ...root, ...testing, ...migrate } as Record<string, unknown>)[name];
      assert.ok(typeof found === 'function' && found.prototype instanceof ResilientStanError, name);
    });
  }

  it('does not depend on what a bundler calls the class', () => {
    class a extends ClosedError {}
    assert.equal(new a('text').name, 'ClosedError');
    assert.equal(new InvalidArgumentError('channel', 'text').name, 'InvalidArgumentError');
  });
});
