/** Answers what a container is asked: `/ready` and `/live`. */
import { createServer } from 'node:http';

/** @param {import('resilient-stan').ResilientStan} stan */
export function serveProbes(stan, port) {
  return createServer((request, response) => {
    const say = (status, body) => {
      response.writeHead(status, { 'content-type': 'application/json', connection: 'close' }).end(JSON.stringify(body));
    };
    if (request.url === '/ready') {
      // It can publish and receive now. It cannot in an election, either.
      const { healthy, state, since, pending, lastError } = stan.health();
      say(healthy ? 200 : 503, { state, since, pending, lastError });
    } else if (request.url === '/live') {
      // Only a client that is over needs a new process. One that reconnects would lose by a restart what it keeps to be sent.
      say(stan.state === 'closed' ? 503 : 200, { state: stan.state });
    } else {
      say(404, { error: 'There are /ready and /live.' });
    }
  }).listen(port);
}
