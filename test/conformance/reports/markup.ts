/** A piece of markup: a tag with its attributes, or text. */
export type Token =
  | {
      readonly kind: 'open' | 'empty';
      readonly name: string;
      readonly attributes: ReadonlyMap<string, string>;
    }
  | { readonly kind: 'close'; readonly name: string }
  | { readonly kind: 'text'; readonly text: string };

const TOKEN =
  /<(?<close>\/)?(?<name>[a-zA-Z][\w-]*)(?<attributes>(?: [a-zA-Z][\w-]*(?:="[^"<]*")?)*)(?<empty>\/)?>|(?<text>[^<]+)/y;
const ATTRIBUTE = / (?<name>[a-zA-Z][\w-]*)(?:="(?<value>[^"]*)")?/g;
/** The characters of XML 1.0, without those it discourages. */
const LEGAL = /^[\t\n\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]*$/u;
const ENTITIES: Readonly<Record<string, string>> = {
  '&amp;': '&',
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&#39;': "'",
};

/**
 * Cuts markup into tokens. Stricter than XML and HTML are: attributes have double quotes, only five entities are known,
 * no comments, no CDATA.
 * @throws where it is anything else
 */
export function tokenize(markup: string): readonly Token[] {
  if (!LEGAL.test(markup)) throw new Error('there is a character that XML does not allow');
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < markup.length) {
    const start = TOKEN.lastIndex;
    const { close, name, attributes, empty, text } = TOKEN.exec(markup)?.groups ?? {};
    if (text !== undefined) tokens.push({ kind: 'text', text: decode(text) });
    else if (name === undefined) throw new Error(`not markup: ${markup.slice(start, start + 80)}`);
    else if (close !== undefined) tokens.push({ kind: 'close', name });
    else
      tokens.push({
        kind: empty === undefined ? 'open' : 'empty',
        name,
        attributes: readAttributes(attributes),
      });
  }
  return tokens;
}

/** Fails unless every tag that opens is closed in its turn. `empty` names the ones that never are. */
export function expectBalanced(tokens: readonly Token[], empty: readonly string[] = []): void {
  const open: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'open' && !empty.includes(token.name)) open.push(token.name);
    if (token.kind !== 'close') continue;
    const last = open.pop();
    if (last !== token.name) throw new Error(`</${token.name}> where ${last ?? 'nothing'} is open`);
  }
  if (open.length > 0) throw new Error(`not closed: ${open.join(', ')}`);
}

/** All text, joined. */
export function textOf(tokens: readonly Token[]): string {
  return tokens.map((token) => (token.kind === 'text' ? token.text : '')).join('');
}

/** The attributes of all tags with that name. */
export function tagsOf(tokens: readonly Token[], name: string): readonly ReadonlyMap<string, string>[] {
  return tokens.flatMap((token) =>
    (token.kind === 'open' || token.kind === 'empty') && token.name === name ? [token.attributes] : [],
  );
}

function readAttributes(text = ''): ReadonlyMap<string, string> {
  const attributes = [...text.matchAll(ATTRIBUTE)].map(
    ({ groups }) => [groups?.['name'] ?? '', decode(groups?.['value'] ?? '')] as const,
  );
  const names = new Map(attributes);
  if (names.size < attributes.length) throw new Error(`an attribute twice: ${text}`);
  return names;
}

function decode(text: string): string {
  return text.replace(/&[^;]{0,8};?/g, (entity) => {
    const character = ENTITIES[entity];
    if (character === undefined) throw new Error(`unknown entity ${entity}`);
    return character;
  });
}
