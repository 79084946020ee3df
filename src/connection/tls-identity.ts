/** Completes the TLS options for the verification of one server. Pure. */
import { isIP } from 'node:net';
import { checkServerIdentity, type ConnectionOptions } from 'node:tls';
import type { ServerAddress } from './servers.js';

/**
 * Returns the options of the upgrade for one server. An open socket does not know its host, so the name to check the
 * certificate against is set here: `servername` or `host` of the user, or otherwise the host of the URL.
 */
export function tlsFor(given: ConnectionOptions, address: ServerAddress): ConnectionOptions {
  const options: ConnectionOptions = { ...given };
  const { names } = address;
  if (names !== undefined && options.servername === undefined && options.host === undefined) {
    // The cluster announced this server, so its certificate may also be for the name of the announcing server.
    options.checkServerIdentity = anyOf(names, options.checkServerIdentity ?? checkServerIdentity);
  }
  options.host ??= names?.[0] ?? address.host;
  // A server name may not be an IP address (RFC 6066). IP addresses are checked against `host`.
  if (options.servername === undefined && isIP(options.host) === 0) options.servername = options.host;
  // Node treats an empty certificate as none.
  if (options.pfx !== undefined && options.cert === undefined) options.cert = '';
  return options;
}

type Check = NonNullable<ConnectionOptions['checkServerIdentity']>;

/** Returns a check that the certificate is for one of these names. */
function anyOf(names: readonly string[], check: Check): Check {
  return (_host, certificate) => {
    let fault: Error | undefined;
    for (const name of names) {
      const wrong = check(name, certificate);
      // As in Node, null counts as well.
      if (!wrong) return undefined;
      fault ??= wrong;
    }
    return fault ?? new Error('there is no name to verify the certificate for');
  };
}
