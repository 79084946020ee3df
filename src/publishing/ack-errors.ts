import { refusalReason } from '../connection/server-texts.js';

/**
 * Returns the message of a PublishRejectedError: the server's text, and what to do about it.
 * @param attempts how often the message was sent; 0 when only an earlier message of its channel was
 * @param shownFor for how long a channel has refused everything that had acknowledged messages before, in ms
 */
export function explainRefusal(channel: string, text: string, attempts: number, shownFor?: number): string {
  const sent =
    attempts === 0
      ? 'never sent: one before it was refused at each of its sendings, while this one waited'
      : `sent ${attempts} time${attempts === 1 ? '' : 's'}`;
  const before =
    shownFor === undefined
      ? ''
      : `. The channel has taken messages of this client before, and then refused all for ${Math.round(shownFor / 1000)} s, so it was ` +
        'most likely deleted meanwhile';
  return `the cluster refused a message on channel '${channel}' (${sent}): "${text}"${before}. ${advice(text)}`;
}

function advice(text: string): string {
  switch (refusalReason(text)) {
    case 'too-many-channels':
      return `Raise max_channels in the server's store limits, or publish to fewer channels`;
    case 'other-case':
      return 'A channel with this name in another case exists: use its exact spelling';
    case 'unregistered':
      return `It said so on several sessions in a row: make sure that no other process uses this client ID, and that the server accepts this channel's name`;
    case undefined:
      return `Look into the server's log for the reason; the message is safe to publish again once it is mended`;
  }
}
