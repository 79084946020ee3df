/** Decides when the oldest message in flight is overdue. Pure; times are in ms of one clock. */

/** How long a probe is waited for at least, in ms. An election or a slow disk may take that long. */
const MUTE_AFTER = 1000;

/**
 * Returns when the oldest message in flight is to be sent again.
 * @param sentAt when it was sent
 * @param provenAt when the leader answered a question that was asked after that: by then it has the message, or will never get it
 * @param overtaken whether a message that was sent later has been acknowledged
 * @param threshold how long the leader may take for an answer, in ms
 */
export function probeAt(sentAt: number, provenAt: number | undefined, overtaken: boolean, threshold: number): number {
  const due = provenAt === undefined ? Infinity : provenAt + threshold;
  return overtaken ? Math.min(due, sentAt + 2 * threshold) : due;
}

/**
 * Returns when a channel is mute whose probe is not acknowledged.
 * @param provenAt when the leader answered a question that was asked after the probe
 * @param threshold how long the leader may take for an answer, in ms
 */
export function muteAt(provenAt: number | undefined, threshold: number): number {
  return provenAt === undefined ? Infinity : provenAt + Math.max(MUTE_AFTER, 2 * threshold);
}
