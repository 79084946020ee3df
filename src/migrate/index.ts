/**
 * The way out: from NATS Streaming to JetStream, with every message and every position, while everything is live. The command
 * `resilient-stan migrate` does the same.
 *
 * It speaks to JetStream through the official client, which has to be installed beside this package:
 * `npm install @nats-io/transport-node @nats-io/jetstream`.
 *
 * @module resilient-stan/migrate
 */
export {
  copy,
  type CopiedChannel,
  type CopyOptions,
  type CopyProgress,
  type CopyReport,
  type WaitingChannel,
} from './copy.js';
export { cut, type CutChannel, type CutOptions, type CutReport } from './cut.js';
export type { CutProgress } from './cut-step.js';
export {
  durables,
  type DurablesOptions,
  type DurablesProgress,
  type DurablesReport,
  type MigratedDurable,
} from './durables.js';
export { finish, type FinishedStream, type FinishOptions, type FinishProgress, type FinishReport } from './finish.js';
export type { StreamLimits } from './limits.js';
export { MigrationSourceError, MigrationTargetError, PeerMissingError } from './errors.js';
export { planInPlace, type ConfigLines, type InPlaceReport, type InPlaceServer } from './in-place.js';
export { channelOf, consumerName, durableOf, streamName, type DurableId } from './names.js';
export type { MigrateOptions, SideOptions, TlsFiles } from './options.js';
export {
  plan,
  type PlannedChannel,
  type PlannedDurable,
  type PlanOptions,
  type PlanProgress,
  type PlanReport,
} from './plan.js';
export type { Problem, Report } from './report.js';
export type { Straggler } from './seam.js';
export type { ChannelLimits } from './stan-limits.js';
export {
  verify,
  type Difference,
  type VerifiedChannel,
  type VerifyCopyOptions,
  type VerifyCopyProgress,
  type VerifyCopyReport,
} from './verify.js';
