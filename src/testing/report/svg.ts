/** SVG and HTML as text. Pure. */

export type Attributes = Readonly<Record<string, string | number | undefined>>;

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text that stays text, in an element and in an attribute. Control characters, which XML has no words for, go. */
export function escape(text: string): string {
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd')
    .replace(/[&<>"']/g, (c) => ESCAPES[c]!);
}

/** One element. `content` is markup already. */
export function element(name: string, attributes: Attributes, content = ''): string {
  let start = `<${name}`;
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) start += ` ${key}="${typeof value === 'number' ? number(value) : escape(value)}"`;
  }
  return content === '' ? `${start}/>` : `${start}>${content}</${name}>`;
}

/** With what a mouse resting on it tells. */
export function titled(name: string, attributes: Attributes, title: string): string {
  return element(name, attributes, `<title>${escape(title)}</title>`);
}

export function text(x: number, y: number, content: string, attributes: Attributes = {}): string {
  return element('text', { x, y, ...attributes }, escape(content));
}

/** A tenth of a pixel is as fine as anybody sees. */
export function number(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** A path through points; undefined is an interruption. */
export function path(points: readonly ({ x: number; y: number } | undefined)[]): string {
  let pen = 'M';
  let d = '';
  for (const point of points) {
    if (!point) {
      pen = 'M';
      continue;
    }
    d += `${pen}${number(point.x)} ${number(point.y)}`;
    pen = 'L';
  }
  return d;
}
