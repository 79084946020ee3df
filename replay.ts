import { Scenario } from './test/unit/subscribing/scenario.js';
const [, , optionsText, argsText, flag] = process.argv;
const options = eval('(' + optionsText + ')');
const [script, fates, maxInFlight, concurrency, startAt, maxMessages] = eval('(' + argsText + ')');
const scenario = new Scenario({ fates });
const { server, clock } = scenario as any;
server.maxMessages = maxMessages;
const log = (...a: unknown[]) => console.log(String(clock.now()).padStart(7), ...a);
const old = server.onSend;
server.onSend = (sub: any, m: any, ...rest: any[]) => { log('send', m.value, m.sequence, 'to', sub?.request?.durableName ?? sub?.request?.queueGroup ?? 'plain/look', JSON.stringify(sub?.request?.start), 'max', sub?.request?.maxInFlight, ...rest); return old?.(sub, m, ...rest); };
const oldHandle = scenario.handle.bind(scenario);
(scenario as any).handle = (m: any, a: any) => { log('HANDLE', m.string(), m.sequence, m.redelivered); return oldHandle(m, a); };
(scenario as any).subscriptions = new (scenario.subscriptions.constructor as any)({ onError: (e: Error) => scenario.errors.push(e), clock, log: (m: string) => log('LOG', m) });
await scenario.connect();
const subscription = await scenario.subscribe({ startAt, maxInFlight: Math.max(maxInFlight, concurrency), concurrency, ...options });
subscription.on('gap', (g) => log('GAP', g));
subscription.on('ready', () => log('READY'));
subscription.on('handler_error', ({message}) => log('FAILED', message.sequence));
subscription.on('dead_letter', ({message}) => log('DEAD', message.sequence));
if (options.queueGroup !== undefined || options.durableName !== undefined || !(typeof startAt === 'object' && startAt.sequence === 1)) { scenario.publish(Number(flag ?? 1)); await clock.advance(50); }
for (const step of script) { log('STEP', JSON.stringify(step)); await scenario.step(step); }
server.deaf = false;
if (scenario.session) scenario.session.loseMessages = scenario.session.loseAcks = 0;
log('STORM OVER', 'first', server.channel().first, 'last', server.channel().last);
await clock.advance((scenario as any).patience ?? 30_000);
try { scenario.assertFinished(); scenario.publish(1); await clock.advance(30_000); scenario.assertFinished(); scenario.assertGapsTrue(); scenario.assertHandledOrTold(); log('lastSequence', subscription.lastSequence, 'last', server.channel().last); } catch (e) { log('ERR', (e as Error).message.slice(0, 300)); }
process.exit(0);
