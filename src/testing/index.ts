/**
 * A test harness for NATS Streaming. It boots a real cluster in a test, and breaks it. Begin with {@link StanCluster.start}.
 *
 * ```ts
 * import { StanCluster } from 'resilient-stan/testing';
 * ```
 *
 * @module resilient-stan/testing
 * @category API
 */
export { StanCluster } from './cluster.js';
export type { ClusterOptions } from './cluster-options.js';
export type { ClusterMode, ConfigValue, RaftTimings, StoreKind } from './config.js';
export type { CheckedClient, CheckedMessage } from './continuity/checked-client.js';
export {
  ContinuityChecker,
  type CheckedSubscribeOptions,
  type CheckerOptions,
  type FinishOptions,
  type PublisherOptions,
} from './continuity/checker.js';
export {
  History,
  type Exposure,
  type HistoryOptions,
  type Outcome,
  type PublisherHistory,
  type Receipt,
  type SubscriptionHistory,
  type SubscriptionSettings,
} from './continuity/history.js';
export { Seam } from './continuity/seam.js';
export type { Gap } from './continuity/told.js';
export type {
  ExampleKind,
  FaultVerdict,
  JudgeOptions,
  Lost,
  Ordering,
  PublisherVerdict,
  Stall,
  SubscriptionKind,
  SubscriptionVerdict,
  Verdict,
} from './continuity/verdict.js';
export { ServerBinaryError, ServerStartError, type ServerSearchStep } from './errors.js';
export { JetStreamCluster, type JetStreamLeaderOptions, type TakeOverOptions } from './jetstream/jetstream-cluster.js';
export { JetStreamNode } from './jetstream/jetstream-node.js';
export type { JetStreamClusterOptions, NatsServerChoice } from './jetstream/jetstream-options.js';
export { JetStreamSide, type JetStreamSideOptions } from './jetstream/jetstream-side.js';
export { MemoryMessage } from './memory/channel.js';
export { MemoryServer, type MemoryServerOptions, type MemorySubscription } from './memory/memory-server.js';
export { MemoryStan } from './memory/memory-stan.js';
export type {
  Channelz,
  Clientsz,
  Jsz,
  JszReplica,
  JszStream,
  Routez,
  Serverz,
  SubscriptionMonitor,
} from '../monitoring/pages.js';
export { Monitor, type MonitorOptions } from './monitor.js';
export {
  Nemesis,
  type HandlerFailures,
  type KillableClient,
  type NemesisOptions,
  type TimelineEntry,
} from './nemesis/nemesis.js';
export {
  checkFaultKinds,
  describeFault,
  FAULT_KINDS,
  planFaults,
  possibleFaults,
  type FaultBase,
  type FaultKind,
  type FaultPlanOptions,
  type PlannedFault,
  type Target,
} from './nemesis/plan.js';
export type { Cut } from './network.js';
export { Proxy, type AppliedToxic, type ProxyOptions } from './proxy.js';
export type { Random } from './random.js';
export type { Direction } from './line.js';
export type { Toxic, ToxicKind } from './toxics.js';
export { StanNode } from './node.js';
export type {
  AuthOption,
  ClusterConnectOptions,
  ServerConnectOptions,
  SubjectPermissions,
  TlsOption,
} from './security.js';
export { ServerCluster, type WaitingOptions } from './server-cluster.js';
export { ServerNode, type NodeExit } from './server-node.js';
export {
  cacheDirectory,
  diagnoseServer,
  NATS_SERVER_VERSION,
  resolveServer,
  SERVER_VERSION,
  type ResolveServerOptions,
  type ServerProgram,
  type ServerSearchResult,
} from './server-binary/index.js';
export { rehearseMigration, type RehearsalOptions, type RehearsalReport } from './rehearsal/rehearsal.js';
export {
  isClean,
  type LatencySeries,
  type MarkKind,
  type ReportData,
  type ReportFault,
  type ReportMark,
  type ReportProcess,
  type ReportSeries,
  type ReportSettings,
  type ResourceSample,
  type RunEnd,
} from './report/data.js';
export { renderHtml } from './report/html.js';
export { renderTimeline, type TimelineOptions } from './report/timeline.js';
export type { ClientAdapter, ClientContext, ClientNews, VerifiedClient } from './verification/adapter.js';
export type { VerifyConnectOptions } from './verification/connect-options.js';
export type { VerifyOptions } from './verification/options.js';
export type { Progress, RunNote } from './verification/progress.js';
export type { Counters } from './verification/recorder.js';
export { verify } from './verification/verify.js';
export { waitFor, type WaitOptions } from './wait.js';
