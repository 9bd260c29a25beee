/** What the server itself wants to know of a request's headers, gathered in one pass. Absent ones are empty. */
export interface RequestFacts {
  readonly acceptEncoding: string;
  readonly accept: string;
  readonly ifNoneMatch: string;
  readonly authorization: string;
  readonly userAgent: string;
  /** How many `Host` headers there are. */
  readonly hosts: number;
  /** Whether a body comes with it. */
  readonly hasBody: boolean;
  readonly expects: boolean;
  /** Whether it asks for another protocol, which it does not get. */
  readonly wantsUpgrade: boolean;
  /** Whether a part of something is asked for, or the answer depends on dates. */
  readonly isSpecial: boolean;
}

const SPECIAL = new Set([
  'range',
  'if-range',
  'if-modified-since',
  'if-unmodified-since',
  'if-match',
  'cookie',
]);

/** Reads names and values as Node gives them: `['Host', 'localhost', 'Accept', '*\/*']`. */
export function readRequestFacts(rawHeaders: readonly string[]): RequestFacts {
  const facts = {
    acceptEncoding: '',
    accept: '',
    ifNoneMatch: '',
    authorization: '',
    userAgent: '',
    hosts: 0,
    hasBody: false,
    expects: false,
    wantsUpgrade: false,
    isSpecial: false,
  };
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const value = rawHeaders[index + 1] ?? '';
    const name = (rawHeaders[index] ?? '').toLowerCase();
    switch (name) {
      case 'accept-encoding':
        facts.acceptEncoding += `,${value}`;
        break;
      case 'accept':
        facts.accept += `,${value}`;
        break;
      case 'if-none-match':
        facts.ifNoneMatch += `,${value}`;
        break;
      case 'authorization':
        facts.authorization += `,${value}`;
        break;
      case 'user-agent':
        facts.userAgent = value;
        break;
      case 'host':
        facts.hosts += 1;
        break;
      case 'content-length':
        // Node has refused what is no number.
        if (!/^0*$/.test(value)) facts.hasBody = true;
        break;
      case 'transfer-encoding':
        facts.hasBody = true;
        break;
      case 'expect':
        facts.expects = true;
        break;
      case 'upgrade':
        facts.wantsUpgrade = true;
        break;
      default:
        if (SPECIAL.has(name)) facts.isSpecial = true;
    }
  }
  return facts;
}
