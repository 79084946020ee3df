/**
 * The next turn of the event loop, by a message to ourselves. Fake timers replace `setImmediate`, `process.nextTick` and
 * `queueMicrotask`, and a test that uses them would stand still.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';

let ports: { inbox: MessagePort; outbox: MessagePort } | undefined;
let callbacks: (() => void)[] = [];

/** Calls back in the next turn. Until then the process does not end by itself. */
export function nextTurn(callback: () => void): void {
  ports ??= open();
  if (callbacks.push(callback) > 1) return;
  ports.inbox.ref();
  ports.outbox.postMessage(undefined);
}

/** Resolves in the next turn. */
export function turn(): Promise<void> {
  return new Promise(nextTurn);
}

function open(): { inbox: MessagePort; outbox: MessagePort } {
  const { port1: inbox, port2: outbox } = new MessageChannel();
  inbox.on('message', run);
  inbox.unref();
  return { inbox, outbox };
}

function run(): void {
  const due = callbacks;
  callbacks = [];
  ports?.inbox.unref();
  for (const [index, callback] of due.entries()) {
    try {
      callback();
    } catch (error) {
      // The error goes to the process, as that of a timer does, and the others are called all the same.
      for (const rest of due.slice(index + 1)) nextTurn(rest);
      throw error;
    }
  }
}
