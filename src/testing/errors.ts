import { ResilientStanError, type ResilientStanErrorOptions } from '../errors.js';

/** One step of the search for a server binary, and what came of it. */
export interface ServerSearchStep {
  /** `option`, `RESILIENT_STAN_SERVER`, `PATH`, `cache`, `download` or `go install`. */
  step: string;
  /** Why it gave no server. */
  reason: string;
  /** What would mend this step: a command to copy, or what to change. */
  mend?: string;
}

/** No usable `nats-streaming-server` was found or could be got. `steps` says what was tried, in order. */
export class ServerBinaryError extends ResilientStanError {
  readonly steps: readonly ServerSearchStep[];
  constructor(message: string, steps: readonly ServerSearchStep[], options: ResilientStanErrorOptions = {}) {
    super('ERR_STAN_SERVER_BINARY', message, options);
    this.steps = steps;
  }
}

/** A server process did not come up, or went down while somebody waited for it. */
export class ServerStartError extends ResilientStanError {
  /** Name of the node. */
  readonly node: string;
  /** The last lines the server wrote in this life. */
  readonly log: readonly string[];
  /** The address that somebody else holds, when that is why. */
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
