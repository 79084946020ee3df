/** Asks for pages of a server's monitoring over HTTP. */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { makeClock } from '../clock/clock.js';

/** How long an answer may take, in ms. */
const TIMEOUT = 5000;

/**
 * One page, parsed. Resolves to undefined when there is no such page.
 * @param ca certificates (PEM) of the authority of a server with https://
 * @param signal ends the request when it is aborted. Default: none
 * @throws Error that says why there is no answer
 */
export function getJson<T>(
  url: string,
  path: string,
  ca?: string,
  timeout = TIMEOUT,
  signal?: AbortSignal,
): Promise<T | undefined> {
  const request = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    // Without an agent, because a socket that is kept alive would keep the process alive.
    const asked = request(
      `${url}${path}`,
      { agent: false, ...(ca !== undefined && { ca }), ...(signal && { signal }) },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 404) return resolve(undefined);
          if (response.statusCode !== 200) return reject(new Error(`it answers with HTTP ${response.statusCode}`));
          try {
            resolve(JSON.parse(Buffer.concat(chunks).toString()) as T);
          } catch {
            reject(new Error('its answer is not JSON: this is not the monitoring of a NATS server'));
          }
        });
      },
    );
    const cancel = makeClock().after(timeout, () => asked.destroy(new Error(`no answer within ${timeout} ms`)));
    asked.on('close', cancel);
    asked.on('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'ECONNREFUSED' ? new Error('connection refused: nobody listens there') : error);
    });
    asked.end();
  });
}
