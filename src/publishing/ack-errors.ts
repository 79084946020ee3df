import { refusalReason } from '../connection/server-texts.js';

/** The message of a PublishRejectedError: the server's text, and what to do about it. */
export function explainRefusal(channel: string, text: string, attempts: number): string {
  return `the cluster refused a message on channel '${channel}' (sent ${attempts} time${attempts === 1 ? '' : 's'}): "${text}". ${advice(text)}`;
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
