/**
 * Opens a stream that credentials may be sent on: TCP connection, the server's greeting, and TLS. The wrapped client gets only
 * the result, because it would let the server decide whether TLS is used.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { describe, toError } from '../errors.js';
import { printable } from '../printable.js';
import { LONGEST_INFO, readGreeting, type Greeting } from './greeting.js';
import type { ServerAddress } from './servers.js';
import { tlsFor } from './tls-identity.js';

export interface Stream {
  /** The socket. If TLS was demanded, it is encrypted and its certificate is verified. */
  socket: Socket;
  greeting: Greeting;
  /** The bytes behind the greeting. They are empty if TLS is used. */
  rest: Buffer;
  secure: boolean;
}

/**
 * Opens a stream to a server.
 * @param tls the options of the demanded TLS; false to use TLS only if the server demands it
 * @param signal ends the attempt with its reason
 * @throws Error that says what failed
 */
export async function openStream(
  address: ServerAddress,
  tls: false | ConnectionOptions,
  signal: AbortSignal,
): Promise<Stream> {
  signal.throwIfAborted();
  const tcp = connectTcp({ host: address.host, port: address.port });
  tcp.setNoDelay(true);
  // The listener stays after the attempt, because an 'error' without a listener would end the process.
  tcp.on('error', () => {});
  let socket: Socket = tcp;
  const end = (): void => void socket.destroy();
  signal.addEventListener('abort', end, { once: true });
  try {
    const { greeting, rest } = await readFirstLine(tcp, signal);
    if (tls === false && greeting.tls !== 'required') return { socket, greeting, rest, secure: false };
    if (rest.length > 0) {
      throw new Error(
        `there are ${rest.length} bytes behind the greeting, before TLS has begun: ` +
          'somebody on the way, or something that is not a NATS server, has put them there',
      );
    }
    const options = tls === false ? tlsFor({}, address) : tls;
    if (greeting.asksCertificate && !options.cert && options.pfx === undefined && options.secureContext === undefined) {
      throw new StreamError(
        'client-certificate',
        "the server asks for a client certificate: set option 'tls.cert' and option 'tls.key'",
      );
    }
    socket = await secure(tcp, options, signal).catch((error: unknown) => {
      if (greeting.tls !== 'none') throw error;
      const text = "the server does not offer TLS, and a tls:// URL or option 'tls' demands it";
      throw new StreamError('no-tls', text, { cause: error });
    });
    return { socket, greeting, rest, secure: true };
  } catch (error) {
    tcp.destroy();
    socket.destroy();
    throw signal.aborted ? toError(signal.reason) : toError(error);
  } finally {
    signal.removeEventListener('abort', end);
  }
}

/** Reads the INFO line. The attempt ends if anything else comes first. */
function readFirstLine(tcp: Socket, signal: AbortSignal): Promise<{ greeting: Greeting; rest: Buffer }> {
  return new Promise((resolve, reject) => {
    let read: Buffer = Buffer.alloc(0);
    const settle = (): void => {
      tcp.pause();
      tcp.off('data', onData);
      tcp.off('error', onError);
      tcp.off('close', onClose);
    };
    const fail = (error: Error): void => {
      settle();
      reject(error);
    };
    const onError = (error: Error): void => fail(explainSocketError(error));
    const onClose = (): void => fail(signal.aborted ? toError(signal.reason) : new Error('it closed the connection'));
    const onData = (data: Buffer): void => {
      read = read.length === 0 ? data : Buffer.concat([read, data]);
      const lineEnd = read.indexOf('\r\n');
      if (lineEnd < 0) {
        if (read.length > LONGEST_INFO) fail(new Error(`no end of its greeting within ${LONGEST_INFO} bytes`));
        return;
      }
      const line = read.toString('utf8', 0, Math.min(lineEnd, LONGEST_INFO));
      try {
        if (lineEnd > LONGEST_INFO) throw new Error(`its greeting is longer than ${LONGEST_INFO} bytes`);
        const info = /^INFO\s+(.*)$/is.exec(line)?.[1];
        // The text of the peer does not matter, because no credentials were sent yet.
        if (info === undefined) {
          throw new StreamError('not-nats', `it greets with something else than INFO: ${printable(line, 200)}`);
        }
        const greeting = readGreeting(info);
        settle();
        resolve({ greeting, rest: read.subarray(lineEnd + 2) });
      } catch (error) {
        fail(toError(error));
      }
    };
    tcp.on('data', onData);
    tcp.on('error', onError);
    tcp.on('close', onClose);
  });
}

/**
 * Upgrades a connection to TLS. It resolves only with an encrypted stream whose certificate was verified, unless the options
 * say otherwise.
 */
function secure(tcp: Socket, options: ConnectionOptions, signal: AbortSignal): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const verified = options.rejectUnauthorized ?? true;
    // This is always set, so that the environment (NODE_TLS_REJECT_UNAUTHORIZED) has no effect.
    const socket = connectTls({ ...options, rejectUnauthorized: verified, socket: tcp });
    const settle = (): void => {
      socket.off('secureConnect', onSecure);
      socket.off('error', onError);
      socket.off('close', onClose);
      signal.removeEventListener('abort', onAbort);
    };
    const fail = (error: Error): void => {
      settle();
      socket.destroy();
      reject(error);
    };
    const onSecure = (): void => {
      if (!socket.encrypted) return fail(new Error('the stream is not encrypted after the TLS handshake'));
      if (verified && !socket.authorized) {
        return fail(new Error(`the certificate was not verified: ${printable(describe(socket.authorizationError))}`));
      }
      settle();
      resolve(socket);
    };
    const onError = (error: Error): void => fail(explainSocketError(error));
    const onClose = (): void => fail(new Error('it closed the connection during the TLS handshake'));
    const onAbort = (): void => fail(toError(signal.reason));
    socket.once('secureConnect', onSecure);
    socket.on('error', onError);
    socket.on('error', () => {});
    socket.on('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/**
 * Why a stream could not be opened, where something can be done about it:
 *
 * - `'unresolved'`: the host has no address;
 * - `'unreached'`: nobody answers there;
 * - `'not-nats'`: who answers is no NATS server;
 * - `'no-tls'`: TLS is demanded and not offered;
 * - `'client-certificate'`: the server wants one and none is set;
 * - `'untrusted'`: the authority of the server's certificate is not known;
 * - `'other-name'`: the server's certificate is for another name.
 */
export type StreamFault =
  'unresolved' | 'unreached' | 'not-nats' | 'no-tls' | 'client-certificate' | 'untrusted' | 'other-name';

/** A stream could not be opened, for a reason that is known. */
export class StreamError extends Error {
  readonly fault: StreamFault;

  constructor(fault: StreamFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}

/** The error if nobody was reached. The server may be down, or the URL may be wrong. */
export class Unreached extends StreamError {
  constructor(message: string, options?: ErrorOptions & { fault?: 'unresolved' | 'unreached' }) {
    super(options?.fault ?? 'unreached', message, options);
  }
}

/** The codes of OpenSSL for a certificate whose authority is unknown. */
const UNKNOWN_AUTHORITY = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
]);

/** Explains an error of the operating system or of OpenSSL. */
export function explainSocketError(error: Error & { code?: string }): Error {
  const { code = '' } = error;
  switch (code) {
    case 'ECONNREFUSED':
      return new Unreached('connection refused: nobody listens there', { cause: error });
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new Unreached(`the host name cannot be resolved (${code})`, { fault: 'unresolved', cause: error });
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return new Unreached(`the host cannot be reached (${code})`, { cause: error });
  }
  // The text may contain text of a certificate.
  const text = printable(describe(error));
  if (UNKNOWN_AUTHORITY.has(code)) {
    return new StreamError(
      'untrusted',
      `its certificate is not trusted: ${text}. Set option 'tls.ca' to the certificate of the authority that signed it`,
      { cause: code },
    );
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return new StreamError('other-name', text, { cause: code });
  return new Error(text, { cause: code });
}
