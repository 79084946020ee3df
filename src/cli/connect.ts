/** Connects for a command, and tells what becomes of the connection. */
import '../dispose.js';
import { ConnectError, AuthorizationError, describe } from '../errors.js';
import { ResilientStan, type ConnectOptions } from '../resilient-stan.js';
import { inOptions, type Values } from './command.js';
import { CONNECTION_OPTIONS, readConnection } from './connection-options.js';
import { Interrupted, type Interruption } from './interruption.js';
import { say } from './say.js';

/** A failure whose message is all that a person needs. The exit code is 1. */
export class CommandError extends Error {}

/**
 * @param interruption gives up the connect. A connected client goes on, and is for the command to close
 * @param more options that the command sets
 * @throws UsageError when the options are wrong
 * @throws Interrupted
 * @throws CommandError when there is no connection, with what to do next
 */
export async function connectFor(
  values: Values<typeof CONNECTION_OPTIONS>,
  interruption: Interruption,
  more: ConnectOptions,
): Promise<ResilientStan> {
  const { servers, options, sources } = await readConnection(values);
  if (sources.file !== undefined) say(`settings: ${sources.file}`);
  const connecting = new AbortController();
  const giveUp = (): void => connecting.abort();
  interruption.signal.addEventListener('abort', giveUp, { once: true });
  let stan: ResilientStan;
  try {
    interruption.signal.throwIfAborted();
    // Somebody waits for an answer, so another client with the same ID is told and not waited for.
    stan = await ResilientStan.connect(servers, {
      clientIdConflict: 'close',
      ...options,
      ...more,
      signal: connecting.signal,
    });
  } catch (error) {
    if (interruption.exitCode !== undefined) throw new Interrupted(interruption.exitCode);
    if (!(error instanceof ConnectError || error instanceof AuthorizationError)) throw error;
    throw new CommandError(`${describe(error)}\n'resilient-stan doctor' with the same options looks closer.`, {
      cause: error,
    });
  } finally {
    interruption.signal.removeEventListener('abort', giveUp);
  }
  const tell = (text: string): void => say(inOptions(text, CONNECTION_OPTIONS));
  stan.on('connection_lost', ({ error }) => tell(`connection lost: ${error.message}`));
  stan.on('reconnect', ({ server }) => say(`connected again, to ${server}`));
  stan.on('permission_error', ({ error }) => tell(error.message));
  stan.on('error', ({ error }) => tell(error.message));
  return stan;
}
