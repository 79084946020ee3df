/** What the steps of a migration have in common in what they answer. All of it can be written as JSON. */

/**
 * Something that keeps a step from being done and true.
 * @category Migration
 */
export interface Problem {
  /** What kind of problem it is, as `foreign-message`. */
  readonly code: string;
  /** The channel that it is about. Undefined when it is about all of them. */
  readonly channel?: string;
  /** The number of the message that it is about, if it is about one. */
  readonly sequence?: number;
  /** The first of the messages that it is about, if it is about several. */
  readonly from?: number;
  /** The last of them. */
  readonly to?: number;
  /** What is wrong, where, and what to do now. */
  readonly message: string;
}

/**
 * What every step of a migration answers at least.
 * @category Migration
 */
export interface Report {
  /** Whether the step is done and true: there are no problems. */
  readonly ok: boolean;
  /** What is wrong. Empty when all is well. */
  readonly problems: readonly Problem[];
}
