/** The wrapped package has no types for its inner file; `wire.ts` says what it uses of it. */
declare module 'node-nats-streaming/lib/pb/index.js' {
  const contents: unknown;
  export default contents;
}
