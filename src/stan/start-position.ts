/**
 * Where a subscription starts. The numbers are those of the protocol.
 * @category Subscribing
 */
export enum StartPosition {
  /** With the messages that are published from now on. */
  NEW_ONLY = 0,
  /** With the last message of the channel. */
  LAST_RECEIVED = 1,
  /** With the messages of the last {@link SubscriptionOptions.startTime} nanoseconds. */
  TIME_DELTA_START = 2,
  /** With the message that has the number {@link SubscriptionOptions.startSequence}. */
  SEQUENCE_START = 3,
  /** With the first message that the channel still has. */
  FIRST = 4,
}
