/** What TLS needs to know to verify one server. Pure. */
import { isIP } from 'node:net';
import { checkServerIdentity, type ConnectionOptions } from 'node:tls';
import type { ServerAddress } from './servers.js';

/**
 * Options of the upgrade for one server. A socket that is open already does not know its host, so what the certificate is
 * checked against is set here: the host of the URL, or what the user gave as `servername` or `host`.
 */
export function tlsFor(given: ConnectionOptions, address: ServerAddress): ConnectionOptions {
  const options: ConnectionOptions = { ...given };
  const { names } = address;
  if (names !== undefined && options.servername === undefined && options.host === undefined) {
    // Announced by the cluster: known by the name of who announced it, too.
    options.checkServerIdentity = anyOf(names, options.checkServerIdentity ?? checkServerIdentity);
  }
  options.host ??= names?.[0] ?? address.host;
  // A server name may not be an IP address (RFC 6066); those are checked against `host`.
  if (options.servername === undefined && isIP(options.host) === 0) options.servername = options.host;
  // Asked for a client certificate, Node takes an empty one for none.
  if (options.pfx !== undefined && options.cert === undefined) options.cert = '';
  return options;
}

type Check = NonNullable<ConnectionOptions['checkServerIdentity']>;

/** The certificate is for one of these names. */
function anyOf(names: readonly string[], check: Check): Check {
  return (_host, certificate) => {
    let fault: Error | undefined;
    for (const name of names) {
      const wrong = check(name, certificate);
      // Null, too, as in Node.
      if (!wrong) return undefined;
      fault ??= wrong;
    }
    return fault ?? new Error('there is no name to verify the certificate for');
  };
}
