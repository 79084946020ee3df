/**
 * What the description of a consumer says of where it comes from. Every server keeps a description, also those before 2.10, which
 * have no metadata. So the target knows by itself how far a hand-over has come. Pure.
 */

/** The note of a consumer that is being made, or is made. */
export type ConsumerNote =
  | { readonly state: 'making' }
  | {
      readonly state: 'made';
      /** The position of the durable that it was made from. */
      readonly lastSent: number;
      readonly pending: number;
      /** How many of these the stream has, and so how many it delivers again. */
      readonly kept: number;
      /** How many deliveries the making took. A consumer that has more was used since. */
      readonly deliveries: number;
    };

const MAKING = 'from a STAN durable, not ready: being handed over';

/** The note as text for people, which {@link readNote} understands. */
export function noteText(note: ConsumerNote): string {
  if (note.state === 'making') return MAKING;
  const { lastSent, pending, kept, deliveries } = note;
  return `from a STAN durable, handed over at ${lastSent} with ${pending} pending (${kept} kept of ${deliveries} deliveries)`;
}

/** Undefined for a description of somebody else. */
export function readNote(description: string | undefined): ConsumerNote | undefined {
  if (description === undefined) return undefined;
  if (description === MAKING) return { state: 'making' };
  const made = /^from a STAN durable, handed over at (\d+) with (\d+) pending \((\d+) kept of (\d+) deliveries\)$/.exec(
    description,
  );
  if (!made) return undefined;
  const [lastSent, pending, kept, deliveries] = made.slice(1).map(Number) as [number, number, number, number];
  return { state: 'made', lastSent, pending, kept, deliveries };
}
