/** One link of a `Link` header, such as `</v2/a/tags/list?n=2&last=b>; rel="next"`. */
export interface Link {
  /** As the server wrote it, often relative; not judged in any way. */
  readonly target: string;
  /** Relation types in lower case, such as `['next']`; none where the link names none. */
  readonly rel: readonly string[];
  /** All other parameters in order, names in lower case; one without a value has the value `''`. */
  readonly params: readonly (readonly [name: string, value: string])[];
}

// What ends a parameter name or an unquoted value.
const NAME_END = /[\s=;,"<>]/g;
const VALUE_END = /[\s;,"<>]/g;
const BLANK = /\s/;

/**
 * Parses a `Link` header; several headers are to be joined by commas, as `HttpResponse.header` does. Never throws:
 * what is no link is passed over, and what is no parameter is left out of its link. Takes linear time.
 * @see RFC 8288, section 3 and appendix B.2
 */
export function parseLinks(header: string): readonly Link[] {
  const reader = new LinkReader(header);
  const links: Link[] = [];
  for (;;) {
    const link = reader.next();
    if (link === undefined) return links;
    if (link !== 'malformed') links.push(link);
  }
}

/**
 * Target of the first link of that relation type. A link with an `anchor` speaks of another document than the one it
 * came with, and does not count.
 * @see RFC 8288, section 3.2
 */
export function findLink(header: string | undefined, rel: string): string | undefined {
  if (header === undefined) return undefined;
  return parseLinks(header).find(
    (link) => link.rel.includes(rel) && !link.params.some(([name]) => name === 'anchor'),
  )?.target;
}

class LinkReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** The next link, or what stands in its place; `undefined` at the end. */
  next(): Link | 'malformed' | undefined {
    this.#skipBlanks();
    while (this.#peek() === ',') {
      this.#at += 1;
      this.#skipBlanks();
    }
    if (this.#at >= this.#text.length) return undefined;
    const target = this.#target();
    if (target === undefined) {
      this.#skipTo(',');
      return 'malformed';
    }
    return this.#parameters(target);
  }

  #target(): string | undefined {
    if (this.#peek() !== '<') return undefined;
    const end = this.#text.indexOf('>', this.#at);
    if (end === -1) {
      // There is none further on either.
      this.#at = this.#text.length;
      return undefined;
    }
    const target = this.#text.slice(this.#at + 1, end);
    this.#at = end + 1;
    return target.includes('<') ? undefined : target;
  }

  #parameters(target: string): Link {
    let rel: readonly string[] | undefined;
    const params: [string, string][] = [];
    for (;;) {
      this.#skipTo(';', ',');
      if (this.#peek() !== ';') return { target, rel: rel ?? [], params };
      this.#at += 1;
      const param = this.#parameter();
      if (param === undefined) continue;
      if (param[0] !== 'rel') params.push(param);
      // Only the first one counts. @see RFC 8288, section 3.3
      else rel ??= param[1].toLowerCase().split(/\s+/).filter(Boolean);
    }
  }

  #parameter(): [string, string] | undefined {
    this.#skipBlanks();
    const name = this.#until(NAME_END).toLowerCase();
    this.#skipBlanks();
    if (this.#peek() !== '=') return name === '' ? undefined : [name, ''];
    this.#at += 1;
    this.#skipBlanks();
    const value = this.#peek() === '"' ? this.#quoted() : this.#until(VALUE_END);
    return name === '' || value === undefined ? undefined : [name, value];
  }

  /** A quoted string without its quotes and escapes; `undefined` if it does not end. */
  #quoted(): string | undefined {
    let value = '';
    for (let at = this.#at + 1; at < this.#text.length; at += 1) {
      const character = this.#text.charAt(at);
      if (character === '"') {
        this.#at = at + 1;
        return value;
      }
      if (character === '\\') at += 1;
      value += this.#text.charAt(at);
    }
    this.#at = this.#text.length;
    return undefined;
  }

  /** Text up to a character of `end`, which is a global expression. */
  #until(end: RegExp): string {
    const start = this.#at;
    end.lastIndex = start;
    this.#at = end.exec(this.#text)?.index ?? this.#text.length;
    return this.#text.slice(start, this.#at);
  }

  /** Goes to the first of the marks outside quoted strings, or to the end. */
  #skipTo(...marks: readonly string[]): void {
    while (this.#at < this.#text.length && !marks.includes(this.#peek())) {
      if (this.#peek() === '"') this.#quoted();
      else this.#at += 1;
    }
  }

  #skipBlanks(): void {
    while (this.#at < this.#text.length && BLANK.test(this.#peek())) this.#at += 1;
  }

  #peek(): string {
    return this.#text.charAt(this.#at);
  }
}
