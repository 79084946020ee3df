/** What others say, made fit for a message or a log: on one line, short, and with nothing in it that a terminal would obey. */

/** The most characters that are kept of a foreign text. A server's own longest answer, with two channel names in it, fits. */
export const MOST = 600;

const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Escapes what cannot be seen, and what would change how the rest is read (a turn of the reading direction, for instance). */
export function escapeInvisible(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (char) => {
    const code = char.codePointAt(0)!.toString(16);
    return ESCAPES[char] ?? (code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`);
  });
}

/** The text of a peer, as it may be shown. */
export function printable(text: string, most = MOST): string {
  // Cut before anything else is done with it: it may be a mebibyte.
  const cut = text.length > most ? `${text.slice(0, most)}…` : text;
  const escaped = escapeInvisible(cut);
  return escaped.length > 2 * most ? `${escaped.slice(0, 2 * most)}…` : escaped;
}
