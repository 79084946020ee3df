/**
 * Traces by OpenTelemetry: a span for each publish, and one for each call of a handler, in one trace. NATS Streaming has no
 * headers, so the trace travels in a field of the payload. The function `traceStan` is the part to copy; below it stands a small
 * service whose handler publishes in its turn: each order becomes an invoice.
 *
 *     npx tsx examples/opentelemetry.ts
 *
 * From the environment: STAN_SERVERS (nats://localhost:4222), STAN_CLUSTER_ID (test-cluster).
 * It needs `npm install @opentelemetry/api @opentelemetry/sdk-trace-node @opentelemetry/context-async-hooks`. Copied
 * alone, it needs `"type": "module"` in package.json, or the name of an `.mts` file.
 */
import type { AsyncLocalStorage } from 'node:async_hooks';
import { tracingChannel } from 'node:diagnostics_channel';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  context,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Context,
  type Span,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  NodeTracerProvider,
  SimpleSpanProcessor,
  type ReadableSpan,
  type SpanExporter,
} from '@opentelemetry/sdk-trace-node';
import { ResilientStan, type ProcessTrace, type PublishTrace } from 'resilient-stan';

/** The field of a payload that carries the trace. A payload that is no object of JSON stays as it is, and carries none. */
const FIELD = 'trace';

/** Makes spans for all clients of this process. */
export function traceStan(contexts: AsyncLocalStorageContextManager): void {
  const tracer = trace.getTracer('resilient-stan');
  const spans = new WeakMap<object, Span>();

  const publishing = tracingChannel<Context, PublishTrace>('resilient-stan:publish');
  publishing.start.subscribe((message) => {
    const publish = message as PublishTrace;
    const span = tracer.startSpan(`publish ${publish.channel}`, {
      kind: SpanKind.PRODUCER,
      attributes: {
        'messaging.system': 'nats-streaming',
        'messaging.operation.type': 'send',
        'messaging.destination.name': publish.channel,
        'messaging.client.id': publish.clientId,
      },
    });
    spans.set(publish, span);
    const carrier = {};
    propagation.inject(trace.setSpan(context.active(), span), carrier);
    publish.data = withField(publish.data, carrier);
  });
  publishing.asyncEnd.subscribe((message) => {
    const publish = message as PublishTrace;
    const span = spans.get(publish);
    if (publish.result) span?.setAttribute('messaging.message.id', publish.result.guid);
    end(span, publish);
  });

  const processing = tracingChannel<Context, ProcessTrace>('resilient-stan:process');
  // OpenTelemetry keeps this to itself, but a bound store is the one way to make a span active in a handler.
  const storage = contexts['_asyncLocalStorage'] as AsyncLocalStorage<Context>;
  processing.start.bindStore(storage, (process) => {
    const { message, clientId } = process;
    const parent = propagation.extract(ROOT_CONTEXT, fieldOf(message.string()));
    const span = tracer.startSpan(
      `process ${message.channel}`,
      {
        kind: SpanKind.CONSUMER,
        attributes: {
          'messaging.system': 'nats-streaming',
          'messaging.operation.type': 'process',
          'messaging.destination.name': message.channel,
          'messaging.client.id': clientId,
          'messaging.stan.sequence': message.sequence,
          'messaging.stan.redelivered': message.redelivered,
        },
      },
      parent,
    );
    spans.set(process, span);
    return trace.setSpan(parent, span);
  });
  processing.asyncEnd.subscribe((message) => end(spans.get(message as ProcessTrace), message as ProcessTrace));
}

function end(span: Span | undefined, operation: PublishTrace | ProcessTrace): void {
  if ('error' in operation) {
    const error = operation.error instanceof Error ? operation.error : new Error(String(operation.error));
    span?.recordException(error);
    span?.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
  }
  span?.end();
}

/** Adds the field at the end of an object of JSON, where it counts also if the payload was passed on and has one already. */
function withField(data: string | Uint8Array, carrier: object): string | Uint8Array {
  const text = typeof data === 'string' ? data : Buffer.from(data).toString();
  if (!text.startsWith('{"') || !text.endsWith('}')) return data;
  return `${text.slice(0, -1)},"${FIELD}":${JSON.stringify(carrier)}}`;
}

/** The field of a payload. It is empty if there is none. */
function fieldOf(payload: string): object {
  if (!payload.startsWith('{')) return {};
  try {
    return ((JSON.parse(payload) as Record<string, unknown>)[FIELD] as object | undefined) ?? {};
  } catch {
    return {};
  }
}

// ── a service that has something to trace ─────────────────────────────────────────────────────────────────────────

/** Writes each span in a line. A real service has an OTLPTraceExporter here, behind a BatchSpanProcessor. */
class LineExporter implements SpanExporter {
  export(spans: ReadableSpan[], done: (result: { code: number }) => void): void {
    for (const span of spans) {
      const { name, duration, parentSpanContext, status } = span;
      const { traceId, spanId } = span.spanContext();
      const time = `${(duration[0] * 1e3 + duration[1] / 1e6).toFixed(1)} ms`;
      const failed = status.code === SpanStatusCode.ERROR ? ` failed: ${status.message}` : '';
      console.log(`${traceId} ${parentSpanContext?.spanId ?? '-'.repeat(16)} > ${spanId} ${name} ${time}${failed}`);
    }
    done({ code: 0 });
  }

  async shutdown(): Promise<void> {}
}

const { STAN_SERVERS = 'nats://localhost:4222', STAN_CLUSTER_ID = 'test-cluster' } = process.env;

const contextManager = new AsyncLocalStorageContextManager();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(new LineExporter())] });
provider.register({ contextManager });
traceStan(contextManager);

try {
  const stan = await ResilientStan.connect(STAN_SERVERS, { clusterId: STAN_CLUSTER_ID });
  await stan.subscribe('invoices', async () => void (await sleep(5)));
  await stan.subscribe(
    'orders',
    async (message) => {
      const order = message.json<{ id: number }>();
      if (order.id === 3 && !message.redelivered) throw new Error('out of paper');
      // This is the span of the handler, so logs and further spans belong to it.
      console.log(`order ${order.id} in trace ${trace.getActiveSpan()?.spanContext().traceId}`);
      await stan.publish('invoices', JSON.stringify({ order: order.id }));
    },
    { ackWait: 1000 },
  );
  let id = 0;
  const timer = setInterval(() => {
    stan.publish('orders', JSON.stringify({ id: ++id })).catch((error: Error) => console.error(error.message));
  }, 250);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stan.close());
  const reason = await stan.closed();
  clearInterval(timer);
  if (reason) throw reason;
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  await provider.shutdown();
}
