/** The names of the events that an emitter has, so that a mistyped one is told. A listener of it would never be called. */
import { InvalidArgumentError } from './errors.js';
import { suggest } from './suggest.js';
import { show } from './validation.js';

/** @typeParam Events the events by name. A name that is missing here, or one too many, does not compile. */
export interface EventNames<Events> {
  /** Whose events they are, for the error: "a client". */
  readonly of: string;
  readonly known: { readonly [Name in keyof Events]: true };
  /** What to say about wrong names that are expected, as those of other libraries. */
  readonly hints?: { readonly [name: string]: string };
}

/** @throws InvalidArgumentError when there is no such event */
export function checkEventName<Events>(event: unknown, { of, known, hints = {} }: EventNames<Events>): void {
  if (typeof event === 'string' && Object.hasOwn(known, event)) return;
  // Tools for emitters, such as `once` of node:events, listen to it on every emitter.
  if (event === 'error') return;
  const names = Object.keys(known);
  const like = typeof event === 'string' ? suggest(event, names) : undefined;
  const hint = typeof event === 'string' && Object.hasOwn(hints, event) ? hints[event] : undefined;
  const advice = hint ?? (like === undefined ? `it has ${names.join(', ')}` : `did you mean '${like}'?`);
  throw new InvalidArgumentError('event', `${of} has no event ${show(event)}: ${advice}`);
}
