/** Makes a foreign text fit for a message or a log: on one line, short, and without control characters for a terminal. */

/** How many characters of a foreign text are kept. The longest answer of a server, with two channel names in it, fits. */
export const MOST = 600;

const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Escapes characters that cannot be seen, and those that change how the rest is read, as a change of the reading direction. */
export function escapeInvisible(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (char) => {
    const code = char.codePointAt(0)!.toString(16);
    return ESCAPES[char] ?? (code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`);
  });
}

/** A text of a peer, fit to be shown. */
export function printable(text: string, most = MOST): string {
  // It is cut first, because it may be a mebibyte long.
  const cut = text.length > most ? `${text.slice(0, most)}…` : text;
  const escaped = escapeInvisible(cut);
  return escaped.length > 2 * most ? `${escaped.slice(0, 2 * most)}…` : escaped;
}
