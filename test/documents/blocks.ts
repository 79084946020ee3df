/**
 * The blocks of code on a page, and what is to be done with each. Pure.
 *
 * CONTRIBUTING.md says how a block is written; this is where it is decided.
 */
import MarkdownIt from 'markdown-it';

/** Why a block is not run. Each is said in the output of the tests, with the place of the block. */
export const REASONS = {
  repository: 'is for a clone of this repository',
  servers: 'needs servers, certificates or a platform that a test does not have',
  minutes: 'runs for minutes',
} as const;
export type Reason = keyof typeof REASONS;

/** What a block of text is. Only `output` is compared here. */
const TEXTS = ['output', 'diagram', 'help', 'measured', 'sample'] as const;

const PROGRAMS = ['ts', 'js'] as const;
const SETTINGS = ['json', 'yaml', 'conf'] as const;
/** Nothing here can run these, so they need a reason. */
const OTHERS = ['diff', 'dockerfile', 'sql', 'html', 'ini'] as const;

export type Language = (typeof PROGRAMS)[number] | (typeof SETTINGS)[number] | (typeof OTHERS)[number] | 'sh' | 'text';

export interface Block {
  page: string;
  /** The line of the fence that opens it, from 1. The first line of the code is the next one. */
  line: number;
  language: Language;
  code: string;
  /** The name that it is saved under. */
  file: string | undefined;
  /** It is pasted below the block of its language that is before it on the page. */
  continued: boolean;
  /** It runs until the page is through. */
  keep: boolean;
  /** Its exit code is not 0. */
  fails: boolean;
  notRun: Reason | undefined;
  text: (typeof TEXTS)[number] | undefined;
  /** What it writes, line by line. */
  output: string | undefined;
}

export interface Reading {
  blocks: Block[];
  /** Blocks that are not written as they have to be. */
  faults: string[];
}

const WORDS: Readonly<Record<string, readonly string[]>> = {
  ts: ['continued', 'keep', 'fails', 'file', 'not-run'],
  js: ['continued', 'keep', 'fails', 'file', 'not-run'],
  sh: ['keep', 'fails', 'not-run'],
  json: ['file', 'not-run'],
  yaml: ['file', 'not-run'],
  conf: ['file', 'not-run'],
  text: TEXTS,
};

const parser = new MarkdownIt({ html: true });

/** Reads the blocks of a page. */
export function blocksOf(page: string, markdown: string): Reading {
  const reading: Reading = { blocks: [], faults: [] };
  for (const token of parser.parse(markdown, {})) {
    if (token.type === 'code_block') {
      reading.faults.push(`${page}:${token.map![0] + 1}: a block by indentation says no language: use a fence`);
    }
    if (token.type === 'fence') readBlock(page, token.map![0] + 1, token.info.trim(), token.content, reading);
  }
  return reading;
}

function readBlock(page: string, line: number, info: string, code: string, { blocks, faults }: Reading): void {
  const fault = (text: string): void => void faults.push(`${page}:${line}: ${text}`);
  const [name = '', ...rest] = info.match(/\S+="[^"]*"|\S+/g) ?? [];
  const others: readonly string[] = OTHERS;
  const known = WORDS[name] ?? (others.includes(name) ? ['not-run'] : undefined);
  if (known === undefined) {
    const all = [...PROGRAMS, 'sh', ...SETTINGS, 'text', ...OTHERS].join(', ');
    return fault(name === '' ? `a block needs a language: ${all}` : `'${name}' is none of ${all}`);
  }
  const words = new Map(
    rest.map((word) => {
      const [key, value = ''] = word.split('=', 2);
      return [key!, value.replaceAll('"', '')] as const;
    }),
  );
  for (const word of words.keys()) {
    if (!known.includes(word)) fault(`'${name}' has no word '${word}': there are ${known.join(', ')}`);
  }
  const reason = words.get('not-run');
  if (reason !== undefined && !Object.hasOwn(REASONS, reason)) {
    fault(`'${reason}' is no reason not to run it: ${Object.keys(REASONS).join(', ')}`);
  }
  if (others.includes(name) && reason === undefined) fault(`nothing can run '${name}': it needs not-run="…"`);
  const text = TEXTS.find((each) => words.has(each));
  if (name === 'text' && text === undefined) fault(`a text says what it is: ${TEXTS.join(', ')}`);

  const before = blocks.at(-1);
  if (text === 'output') {
    const canWrite = before !== undefined && ['ts', 'js', 'sh'].includes(before.language);
    if (canWrite && before.notRun === undefined && before.output === undefined) before.output = code;
    else return fault('an output stands right behind the program or the commands that are run and write it');
  }
  const continued = words.has('continued');
  if (continued && !blocks.some(({ language }) => language === name)) fault(`there is no '${name}' before it`);
  blocks.push({
    page,
    line,
    language: name as Language,
    code,
    file: words.get('file'),
    continued,
    keep: words.has('keep'),
    fails: words.has('fails'),
    notRun: reason as Reason | undefined,
    text,
    output: undefined,
  });
}

/** One file that a user has after pasting. */
export interface Program {
  block: Block;
  /** Its name, in the folder of its page. */
  file: string;
  code: string;
  /** False if it is only a part of a program that follows, if other blocks use it by its name, or if there is a reason. */
  run: boolean;
  /** Where its last block begins in the code: lines before it are those of earlier blocks. */
  offset: number;
}

/** The programs of a page: with what each continues. */
export function programsOf(blocks: readonly Block[]): Program[] {
  const programs: Program[] = [];
  for (const block of blocks) {
    if (block.language !== 'ts' && block.language !== 'js') continue;
    const before = block.continued ? programs.findLast((each) => each.block.language === block.language) : undefined;
    const code = before === undefined ? block.code : `${before.code}\n${block.code}`;
    if (before !== undefined && before.block.output === undefined && !before.block.keep) before.run = false;
    const file = block.file ?? `block-${block.line}.${extensionOf(block.language, code)}`;
    const bare = file.replace(/\.\w+$/, '');
    const used =
      block.file !== undefined &&
      blocks.some((other) => other !== block && new RegExp(`\\b${bare}\\.[cm]?[jt]s\\b`).test(other.code));
    const offset = before === undefined ? 0 : before.code.split('\n').length;
    programs.push({ block, file, code, run: block.notRun === undefined && !used, offset });
  }
  return programs;
}

/** A `require()` without an `import` makes it CommonJS, which Node knows by the name of the file. */
function extensionOf(language: 'ts' | 'js', code: string): string {
  if (language === 'ts') return 'mts';
  return /\brequire\(/.test(code) && !/^(import|export)\b/m.test(code) ? 'cjs' : 'mjs';
}

/** The packages that a program loads, but for those of Node and this one. */
export function packagesOf(code: string): string[] {
  const names = [
    ...code.replace(/(^|\s)\/\/.*$/gm, '').matchAll(/(?:\bfrom |\bimport |\bimport\(|\brequire\()'([^'.][^']*)'/g),
  ].map(([, name]) => /^(@[^/]+\/)?[^/]+/.exec(name!)![0]);
  return [...new Set(names)].filter((name) => !name.startsWith('node:') && name !== 'resilient-stan');
}

/** The packages that a page says to install. */
export function installedBy(blocks: readonly Block[]): string[] {
  return blocks
    .filter(({ language }) => language === 'sh')
    .flatMap(({ code }) => [...code.matchAll(/\bnpm (?:install|i|add)\b([^\n#&|;]*)/g)])
    .flatMap(([, names]) => names!.split(/\s+/).filter((name) => /^[@a-z]/.test(name)))
    .map((name) => name.replace(/(?<=.)@.*$/, ''));
}
