/** The adapter of this library, with its defaults. */
import { ResilientStan } from '../../resilient-stan.js';
import { describe } from '../../errors.js';
import { version } from '../../version.js';
import { PlannedFailure, type ClientAdapter, type ClientContext, type VerifiedClient } from './adapter.js';

async function connect(context: ClientContext): Promise<VerifiedClient> {
  const { servers, clusterId, connectOptions, clientId, ordering } = context;
  const tell = context.tell.bind(context);
  const say = (level: string) => (message: string, details?: Record<string, unknown>) =>
    context.log(`${level} ${message}${details === undefined ? '' : ` ${JSON.stringify(details)}`}`);
  const stan = await ResilientStan.connect(servers, {
    ...connectOptions,
    clusterId,
    clientId,
    publishing: { ordering },
    logger: { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') },
  });
  stan.on('connection_lost', ({ reason }) => tell('loss', reason));
  stan.on('reconnect', ({ server, downtime }) => tell('reconnect', `after ${Math.round(downtime)} ms, to ${server}`));
  stan.on('client_id_conflict', ({ error }) => tell('error', error.message));
  stan.on('permission_error', ({ error }) => tell('error', error.message));
  stan.on('error', ({ error }) => tell('error', describe(error)));
  let closing = false;
  void stan.closed().then((error) => closing || tell('closed', error?.message));
  const emitters: { eventNames(): (string | symbol)[]; listenerCount(name: never): number }[] = [stan];
  return {
    publish: (channel, data) => stan.publish(channel, data),
    subscribe: async (channel, handler, options) => {
      const subscription = await stan.subscribe(channel, handler, options);
      subscription.on('reset', ({ expected, got }) => tell('reset', `sequence ${got} instead of ${expected}`));
      subscription.on('handler_error', ({ error }) => {
        if (!(error instanceof PlannedFailure)) tell('error', describe(error));
      });
      subscription.on('closed', ({ error }) => closing || tell('closed', error?.message));
      emitters.push(subscription);
      return subscription;
    },
    listeners: () =>
      emitters.reduce(
        (sum, emitter) => emitter.eventNames().reduce((n, name) => n + emitter.listenerCount(name as never), sum),
        0,
      ),
    close: () => {
      closing = true;
      return stan.close({ timeout: 3000 });
    },
  };
}

const adapter: ClientAdapter = { name: 'resilient-stan', version, connect };
export default adapter;
