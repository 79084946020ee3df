/** When a message in flight that is not acknowledged says more than that it takes long. Pure; times in ms of one clock. */

/** A probe is not given up sooner: an election and a slow disk may take that long. */
const MUTE_AFTER = 1000;

/**
 * When the oldest message in flight is to be sent again.
 * @param sentAt when it was sent
 * @param provenAt when the leader answered a question that was asked after that: it has had the message by then, if it came
 * @param overtaken one that was sent later has been acknowledged
 * @param threshold how long the leader may take for an answer
 */
export function probeAt(sentAt: number, provenAt: number | undefined, overtaken: boolean, threshold: number): number {
  const due = provenAt === undefined ? Infinity : provenAt + threshold;
  return overtaken ? Math.min(due, sentAt + 2 * threshold) : due;
}

/** When the channel of a probe without an acknowledgement is given up for the time being. `provenAt` as above. */
export function muteAt(provenAt: number | undefined, threshold: number): number {
  return provenAt === undefined ? Infinity : provenAt + Math.max(MUTE_AFTER, 2 * threshold);
}
