/**
 * The largest count of 32 bits with a sign. Counts in the protocol are that wide, and so are the milliseconds of a timer of Node
 * (24.8 days): a longer one fires at once.
 */
export const MAX_INT32 = 2 ** 31 - 1;
