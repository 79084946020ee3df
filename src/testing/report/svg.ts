/** SVG and HTML as text. Pure. */

export type Attributes = Readonly<Record<string, string | number | undefined>>;

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Escapes a text for an element or an attribute. Control characters are removed, because XML cannot have them. */
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

/** An element with a text that is shown when the mouse rests on it. */
export function titled(name: string, attributes: Attributes, title: string): string {
  return element(name, attributes, `<title>${escape(title)}</title>`);
}

export function text(x: number, y: number, content: string, attributes: Attributes = {}): string {
  return element('text', { x, y, ...attributes }, escape(content));
}

/** A number with one decimal: nobody sees less than a tenth of a pixel. */
export function number(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** A path through points. Undefined interrupts it. */
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
