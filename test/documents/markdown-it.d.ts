/** What we use of markdown-it. It brings no types. */
declare module 'markdown-it' {
  export interface Token {
    type: string;
    tag: string;
    /** First line, and the line after the last one, from 0. */
    map: [number, number] | null;
    /** What stands behind the fence that opens a block. */
    info: string;
    content: string;
    children: Token[] | null;
    attrGet(name: string): string | null;
  }
  export default class MarkdownIt {
    constructor(options?: { html?: boolean });
    parse(text: string, env: object): Token[];
    render(text: string): string;
  }
}
