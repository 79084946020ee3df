import { ResilientStanError, type ResilientStanErrorOptions } from '../errors.js';

/**
 * One step of the search for a server, and its result.
 * @category Server binary
 */
export interface ServerSearchStep {
  /** Name of the step: `option`, `RESILIENT_STAN_SERVER` (or `RESILIENT_STAN_NATS_SERVER`), `PATH`, `cache`, `download` or `go install`. */
  step: string;
  /** Why there is no server. */
  reason: string;
  /** What to do so that this step works: a command, or what to change. Undefined when there is nothing. */
  mend?: string;
}

/**
 * No server (`nats-streaming-server`, or `nats-server` where that is wanted) was found, and none could be downloaded or built.
 * @category Errors
 */
export class ServerBinaryError extends ResilientStanError {
  /** The steps that were tried, in their order. */
  readonly steps: readonly ServerSearchStep[];
  constructor(message: string, steps: readonly ServerSearchStep[], options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_SERVER_BINARY', message, options);
    this.steps = steps;
  }
}

/**
 * A server did not start, or ended while it started.
 * @category Errors
 */
export class ServerStartError extends ResilientStanError {
  /** Name of the node. */
  readonly node: string;
  /** The last lines that the server wrote since this start. */
  readonly log: readonly string[];
  /** The address that another process holds, when that is the reason. */
  readonly addressInUse: string | undefined;
  constructor(
    node: string,
    message: string,
    log: readonly string[],
    addressInUse?: string,
    options: ResilientStanErrorOptions = {},
  ) {
    super('ERR_STAN_SERVER_START', message, options);
    this.node = node;
    this.log = log;
    this.addressInUse = addressInUse;
  }
}
