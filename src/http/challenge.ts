/** One challenge of a `WWW-Authenticate` header, such as `Bearer realm="https://ghcr.io/token",service="ghcr.io"`. */
export interface Challenge {
  /** Lower case, such as `bearer`. */
  readonly scheme: string;
  /** Parameters by lower-case name; of doubled ones the first. */
  readonly parameters: ReadonlyMap<string, string>;
  /** What stands in the place of parameters, such as the blob of `Negotiate`. */
  readonly token68?: string | undefined;
}

/** More than this is no honest challenge, and is not looked at. */
const MAX_HEADER_CHARACTERS = 16 * 1024;

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const SEPARATORS = /[ \t,]*/y;
const PARAMETER = new RegExp(`(${TOKEN})[ \\t]*=[ \\t]*(?:"((?:[^"\\\\]|\\\\[^])*)"|(${TOKEN}))`, 'y');
const SCHEME = new RegExp(`(${TOKEN})(?=[ \\t,]|$)[ \\t]*`, 'y');
const TOKEN68 = /([A-Za-z0-9._~+/-]+=*)(?=[ \t]*(?:,|$))/y;
const REST_OF_ELEMENT = /[^,]*/y;

/**
 * Reads all challenges of a header; several headers are to be joined by commas. Never fails: what is no challenge is
 * passed over up to the next comma.
 * @see RFC 9110, sections 11.3 and 11.6.1
 */
export function parseChallenges(header: string): Challenge[] {
  const text = header.slice(0, MAX_HEADER_CHARACTERS);
  const challenges: { scheme: string; parameters: Map<string, string>; token68?: string }[] = [];
  let position = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position;
    const match = pattern.exec(text);
    if (match !== null) position = pattern.lastIndex;
    return match;
  };
  const isParameterNext = (): boolean => {
    PARAMETER.lastIndex = position;
    return PARAMETER.test(text);
  };
  for (;;) {
    take(SEPARATORS);
    if (position >= text.length) return challenges;
    const parameter = take(PARAMETER);
    if (parameter !== null) {
      const [, name = '', quoted, token] = parameter;
      const { parameters } = challenges.at(-1) ?? { parameters: new Map<string, string>() };
      const value = token ?? quoted?.replace(/\\([^])/g, '$1') ?? '';
      if (!parameters.has(name.toLowerCase())) parameters.set(name.toLowerCase(), value);
      continue;
    }
    const scheme = take(SCHEME)?.[1];
    if (scheme === undefined) {
      take(REST_OF_ELEMENT);
      continue;
    }
    const challenge: (typeof challenges)[number] = { scheme: scheme.toLowerCase(), parameters: new Map() };
    challenges.push(challenge);
    const token68 = isParameterNext() ? undefined : take(TOKEN68)?.[1];
    if (token68 !== undefined) challenge.token68 = token68;
  }
}
