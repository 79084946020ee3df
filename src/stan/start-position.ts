/** Where a subscription starts, in the numbers of the protocol. */
export enum StartPosition {
  NEW_ONLY = 0,
  LAST_RECEIVED = 1,
  TIME_DELTA_START = 2,
  SEQUENCE_START = 3,
  FIRST = 4,
}
