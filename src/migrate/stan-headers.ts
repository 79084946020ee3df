/** The headers that a copied message has. */

/** The sequence that the message had in STAN. */
export const STAN_SEQUENCE = 'Stan-Sequence';
/** When STAN has stored it, as an ISO time. */
export const STAN_TIMESTAMP = 'Stan-Timestamp';
