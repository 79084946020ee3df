/**
 * From an address to a stream that credentials may be sent on: the TCP connection, the server's greeting, and TLS. The
 * wrapped client is handed only the result, since it would take the server's word for whether there is to be TLS at all.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { describe, toError } from '../errors.js';
import { printable } from '../printable.js';
import { LONGEST_INFO, readGreeting, type Greeting } from './greeting.js';
import type { ServerAddress } from './servers.js';
import { tlsFor } from './tls-identity.js';

export interface Stream {
  /** Encrypted, and its certificate verified, if TLS was demanded. */
  socket: Socket;
  greeting: Greeting;
  /** What came behind the greeting; nothing, if there is TLS. */
  rest: Buffer;
  secure: boolean;
}

/**
 * @param tls demanded, with these options; false: only if the server insists
 * @param signal ends it, with its reason
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
  // Also after it is given up, when nobody listens any more: an 'error' without a listener would end the process.
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
      throw new Error('the server asks for a client certificate: set tls.cert and tls.key');
    }
    socket = await secure(tcp, options, signal).catch((error: unknown) => {
      if (greeting.tls !== 'none') throw error;
      throw new Error('the server does not offer TLS, and a tls:// URL or the option tls demands it', { cause: error });
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

/** Reads up to the end of the INFO line. Anything else that comes first ends the dial. */
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
        // Whatever it says, nobody has been asked for credentials yet.
        if (info === undefined) throw new Error(`it greets with something else than INFO: ${printable(line, 200)}`);
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

/** The upgrade. Resolves only for an encrypted stream whose certificate was verified, unless the options say otherwise. */
function secure(tcp: Socket, options: ConnectionOptions, signal: AbortSignal): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const verified = options.rejectUnauthorized ?? true;
    // Set in any case: the environment (NODE_TLS_REJECT_UNAUTHORIZED) has no say in it.
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

/** Nobody was reached: it may not run, or the URL may be wrong. */
export class Unreached extends Error {}

/** What OpenSSL says of a certificate whose authority it does not know. */
const UNKNOWN_AUTHORITY = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
]);

/** What the operating system or OpenSSL said, in words. */
export function explainSocketError(error: Error & { code?: string }): Error {
  const { code = '' } = error;
  switch (code) {
    case 'ECONNREFUSED':
      return new Unreached('connection refused: nobody listens there', { cause: error });
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new Unreached(`the host name cannot be resolved (${code})`, { cause: error });
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return new Unreached(`the host cannot be reached (${code})`, { cause: error });
  }
  // A certificate's own words may be in it.
  const text = printable(describe(error));
  if (UNKNOWN_AUTHORITY.has(code)) {
    return new Error(
      `its certificate is not trusted: ${text}. Set tls.ca to the certificate of the authority that signed it`,
      {
        cause: code,
      },
    );
  }
  return new Error(text, { cause: code });
}
