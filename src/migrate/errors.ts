/** The errors of a migration that is not possible at all. What is wrong with the data is a {@link Problem} in a report. */
import { describe, ResilientStanError, type ResilientStanErrorOptions } from '../errors.js';

/**
 * The packages of the official client are not installed. A migration needs them, and nothing else does.
 * @category Errors
 */
export class PeerMissingError extends ResilientStanError {
  /** The package that could not be loaded. */
  readonly packageName: string;
  constructor(packageName: string, cause: unknown) {
    super(
      'ERR_STAN_PEER_MISSING',
      `the package ${packageName} cannot be loaded (${describe(cause).split('\n')[0]}): a migration speaks to JetStream ` +
        `through the official client, so install it beside resilient-stan: ${INSTALL}`,
      { cause },
    );
    this.packageName = packageName;
  }
}

/** The command that installs the official client. */
export const INSTALL = 'npm install @nats-io/transport-node@~3.3.1 @nats-io/jetstream@~3.3.1';

/**
 * The STAN side cannot be read: its monitoring does not answer, or does not say what is needed.
 * @category Errors
 */
export class MigrationSourceError extends ResilientStanError {
  constructor(message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_MIGRATION_SOURCE', message, options);
  }
}

/**
 * The JetStream side cannot be used: it cannot be reached, refuses the credentials, or has no JetStream.
 * @category Errors
 */
export class MigrationTargetError extends ResilientStanError {
  constructor(message: string, options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_MIGRATION_TARGET', message, options);
  }
}
