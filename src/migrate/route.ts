/**
 * On which subject a stream takes the messages of a copy, and on which those of everybody else. Pure.
 *
 * From 2.10 on a stream takes copied messages on a subject of its own, and stores them under the name of the channel. Nobody
 * listens on the name of the channel then, so a program that publishes natively too early is told so ("no responders").
 */
import type { StreamConfig } from '@nats-io/jetstream';

/** What the subjects of copied messages begin with. */
export const IMPORT_PREFIX = '$STANIMPORT.';

/** The way of copied messages into a stream. */
export interface Route {
  /** Whether a native publish on the channel's name is kept out. */
  readonly fenced: boolean;
  /** The subject that copied messages are published on. */
  readonly publishTo: string;
  /** The part of the stream's configuration. */
  readonly config: Pick<StreamConfig, 'subjects'> & Partial<Pick<StreamConfig, 'subject_transform'>>;
}

/** The way by a subject of its own. It needs a server that transforms subjects (2.10 or later). */
export function fencedRoute(channel: string): Route {
  const publishTo = IMPORT_PREFIX + channel;
  return {
    fenced: true,
    publishTo,
    config: { subjects: [publishTo], subject_transform: { src: publishTo, dest: channel } },
  };
}

/** The way by the channel's own name. Native publishes come in as well. */
export function openRoute(channel: string): Route {
  return { fenced: false, publishTo: channel, config: { subjects: [channel] } };
}

/** Whether a stream takes copied messages this way. */
export function takes(route: Route, { subjects, subject_transform }: StreamConfig): boolean {
  const wanted = route.config.subject_transform;
  return (
    subjects.length === 1 &&
    subjects[0] === route.config.subjects[0] &&
    wanted?.src === (subject_transform?.src || undefined) &&
    wanted?.dest === (subject_transform?.dest || undefined)
  );
}
