import { Scenario } from './test/unit/subscribing/scenario.js';
const [, , membersText, argsText] = process.argv;
const members = eval('(' + membersText + ')');
const [script, fates, maxInFlight] = eval('(' + argsText + ')');
const scenario = new Scenario({ fates });
const { server, clock } = scenario as any;
const log = (...a: unknown[]) => console.log(String(clock.now()).padStart(7), ...a);
const old = server.onSend;
server.onSend = (sub: any, m: any, ...rest: any[]) => { log('send', m.value, m.sequence, 'to', sub?.request?.durableName ?? sub?.request?.queueGroup ?? 'plain/look', JSON.stringify(sub?.request?.start), 'ackWait', sub?.request?.ackWait, sub.muted, ...rest); return old?.(sub, m, ...rest); };
const oldHandle = scenario.handle.bind(scenario);
(scenario as any).handle = (m: any, a: any) => { log('HANDLE', m.string(), m.sequence, m.redelivered); return oldHandle(m, a); };
(scenario as any).subscriptions = new (scenario.subscriptions.constructor as any)({ onError: (e: Error) => scenario.errors.push(e), clock, log: (m: string) => log('LOG', m) });
await scenario.connect();
let i = 0;
for (const own of members) { const n = i++; const s = await scenario.subscribe({ startAt: 'first', maxInFlight, ...own }); s.on('ready', () => log('READY', n)); s.on('gap', (g: any) => log('GAP', n, g)); s.on('closed', () => log('CLOSED', n)); }
scenario.publish(members.length); await clock.advance(50);
for (const step of script) { log('STEP', JSON.stringify(step)); await scenario.step(step); }
if (scenario.session) scenario.session.loseMessages = scenario.session.loseAcks = 0;
log('STORM OVER', 'first', server.channel().first, 'last', server.channel().last);
await clock.advance(600_000);
try { scenario.assertFinished(); } catch (e) { log('ERR', (e as Error).message.slice(0, 300)); }
process.exit(0);
