/** A program that publishes natively before the cut, as somebody does in each team. The fence has to keep it out. */
import { describe } from '../../errors.js';
import { loadOfficialClient } from '../../migrate/target.js';

/** How long a server may take to answer, in ms. */
const TIMEOUT = 5000;

/**
 * Publishes a native message at each server.
 * @returns what is wrong, for each server at which it was not refused with "no responders"
 */
export async function publishTooEarly(channel: string, urls: readonly string[]): Promise<string[]> {
  const { core } = await loadOfficialClient();
  const wrong: string[] = [];
  for (const url of urls) {
    const { host } = new URL(url);
    const connection = await core.connect({ servers: host, timeout: TIMEOUT });
    try {
      const answer = await connection.request(channel, 'too early', { timeout: TIMEOUT });
      wrong.push(`the server at ${host} let a native message into '${channel}' before the cut: ${answer.string()}`);
    } catch (error) {
      if (error instanceof core.RequestError && error.isNoResponders()) continue;
      wrong.push(`the server at ${host} did not refuse a native message to '${channel}': ${describe(error)}`);
    } finally {
      await connection.close();
    }
  }
  return wrong;
}
