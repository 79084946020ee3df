/**
 * Is loaded before each program of a page, so that it runs as it stands there, with its addresses.
 *
 * `nats://localhost:4222`, or `nats://a:4222`, is the server of the page, and a port such as 3000 that a program listens at
 * is a free one in truth. What is where stands in a file that all processes of a page share.
 */
const { readFileSync, writeFileSync, renameSync } = require('node:fs');
const net = require('node:net');
const { join } = require('node:path');

const home = process.env.DOCUMENT_ADDRESSES;
const file = join(home, 'ports.json');
const ports = () => JSON.parse(readFileSync(file, 'utf8'));

/** @type {(name: string, text: string) => void} */
function replace(name, text) {
  writeFileSync(`${name}.${process.pid}`, text);
  renameSync(`${name}.${process.pid}`, name);
}

const LOCAL = new Set(['localhost', '127.0.0.1', '::1', '0.0.0.0', undefined]);

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const list = Array.isArray(args[0]) ? args[0] : args;
  const [first, second] = list;
  const options =
    typeof first === 'object' && first !== null
      ? { ...first }
      : { port: Number(first), host: typeof second === 'string' ? second : undefined };
  if (options.path !== undefined && options.path !== null) return connect.apply(this, args);
  const port = ports()[options.port];
  if (port !== undefined) {
    options.port = port;
    options.host = '127.0.0.1';
  } else if (!LOCAL.has(options.host)) {
    process.nextTick(() =>
      this.destroy(new Error(`A page's program may not connect to ${options.host}:${options.port}`)),
    );
    return this;
  }
  return connect.call(this, options, ...list.filter((each) => typeof each === 'function'));
};

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  const [first] = args;
  const port = Number(typeof first === 'object' && first !== null ? first.port : first);
  // Those above are taken by the harness for its own clusters, and are free.
  if (!(port > 0 && port < 10_000)) return listen.apply(this, args);
  this.prependOnceListener('listening', () => {
    const all = { ...ports(), [port]: this.address().port };
    replace(file, JSON.stringify(all));
    // curl reads this: it is asked for the port of the page.
    const lines = Object.entries(all).map(([from, to]) => `connect-to = ":${from}:127.0.0.1:${to}"\n`);
    replace(join(home, '.curlrc'), lines.join(''));
  });
  const rest = typeof first === 'object' && first !== null ? [{ ...first, port: 0 }] : [0];
  return listen.apply(this, [...rest, ...args.slice(1)]);
};
