/** Publishing and subscribing as the connection sees them, doing nothing, but for what a test says. */
import {
  Participants,
  type PublishingParticipant,
  type SubscribingParticipant,
} from '../../src/connection/participants.js';

export function idleParticipants(
  subscribing: Partial<SubscribingParticipant> = {},
  publishing: Partial<PublishingParticipant> = {},
): Participants {
  const idle = {
    detach: () => undefined,
    resume: () => undefined,
    leaderAnswered: () => undefined,
  };
  // Assigned, not spread: what is a getter stays one.
  return new Participants(
    withOwn<SubscribingParticipant>(
      { ...idle, attach: () => Promise.resolve(), crowd: () => undefined, wantsAnswerSince: undefined },
      subscribing,
    ),
    withOwn<PublishingParticipant>(
      {
        ...idle,
        attach: () => undefined,
        relax: () => undefined,
        pause: () => undefined,
        inHand: () => [],
        review: () => Infinity,
      },
      publishing,
    ),
  );
}

function withOwn<T extends object>(idle: T, own: Partial<T>): T {
  return Object.defineProperties(idle, Object.getOwnPropertyDescriptors(own));
}
