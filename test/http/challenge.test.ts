import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseChallenges, type Challenge } from '#ferry/http/challenge.js';

type Plain = readonly [scheme: string, parameters: Record<string, string>, token68?: string];

function plain({ scheme, parameters, token68 }: Challenge): Plain {
  const base = [scheme, Object.fromEntries(parameters)] as const;
  return token68 === undefined ? base : [...base, token68];
}

/** Writes a challenge so that `parseChallenges` reads the same. */
function formatChallenge({ scheme, parameters, token68 }: Challenge): string {
  const texts = [...parameters].map(([name, value]) => `${name}="${value.replace(/["\\]/g, '\\$&')}"`);
  return [scheme, token68 ?? texts.join(', ')].filter((text) => text !== '').join(' ');
}

const GITHUB = {
  realm: 'https://ghcr.io/token',
  service: 'ghcr.io',
  scope: 'repository:org/noarch/zlib:pull,push',
};

test.each<[what: string, header: string, challenges: Plain[]]>([
  [
    'of ghcr.io',
    'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:org/noarch/zlib:pull,push"',
    [['bearer', GITHUB]],
  ],
  [
    'of Docker Hub, for a token that is too narrow',
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull repository:y/z:push,pull",error="insufficient_scope"',
    [
      [
        'bearer',
        {
          realm: 'https://auth.docker.io/token',
          service: 'registry.docker.io',
          scope: 'repository:library/x:pull repository:y/z:push,pull',
          error: 'insufficient_scope',
        },
      ],
    ],
  ],
  [
    'of ECR',
    'Basic realm="https://1.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"',
    [['basic', { realm: 'https://1.dkr.ecr.eu-west-1.amazonaws.com/', service: 'ecr.amazonaws.com' }]],
  ],
  ['of Artifactory', 'Basic realm="Artifactory Realm"', [['basic', { realm: 'Artifactory Realm' }]]],
  [
    'with spaces round everything',
    '  Bearer   realm = "a" ,  service = b  ',
    [['bearer', { realm: 'a', service: 'b' }]],
  ],
  ['with upper-case names', 'BEARER Realm="A",SCOPE="b"', [['bearer', { realm: 'A', scope: 'b' }]]],
  ['with a value that is no text', 'Bearer realm=a', [['bearer', { realm: 'a' }]]],
  ['with an empty value', 'Bearer realm=""', [['bearer', { realm: '' }]]],
  [
    'with escapes',
    String.raw`Basic realm="a \"b\" \\ \c, Bearer x=\"y"`,
    [['basic', { realm: String.raw`a "b" \ c, Bearer x="y` }]],
  ],
  [
    'with a doubled parameter, of which the first counts',
    'Bearer realm="a",realm="b",REALM="c"',
    [['bearer', { realm: 'a' }]],
  ],
  [
    'of two in one line',
    'Bearer realm="a",scope="b,c", Basic realm="d"',
    [
      ['bearer', { realm: 'a', scope: 'b,c' }],
      ['basic', { realm: 'd' }],
    ],
  ],
  [
    'of two, the first bare',
    'Negotiate, Basic realm="d"',
    [
      ['negotiate', {}],
      ['basic', { realm: 'd' }],
    ],
  ],
  [
    'with a token68',
    'Negotiate oYG0MIGxoAMKAQE=, Basic realm="d"',
    [
      ['negotiate', {}, 'oYG0MIGxoAMKAQE='],
      ['basic', { realm: 'd' }],
    ],
  ],
  [
    'of RFC 9110, section 11.6.1',
    'Basic realm="simple", Newauth realm="apps", type=1,\t title="Login to \\"apps\\""',
    [
      ['basic', { realm: 'simple' }],
      ['newauth', { realm: 'apps', type: '1', title: 'Login to "apps"' }],
    ],
  ],
  [
    'with empty elements',
    ', ,Basic realm="x",, ,Digest realm="y",',
    [
      ['basic', { realm: 'x' }],
      ['digest', { realm: 'y' }],
    ],
  ],
  ['with a parameter of nobody', 'realm="x", Basic realm="y"', [['basic', { realm: 'y' }]]],
  [
    'with rubbish between',
    'Bearer realm="a", ="b", (), Basic realm="c"',
    [
      ['bearer', { realm: 'a' }],
      ['basic', { realm: 'c' }],
    ],
  ],
  [
    'that never closes its text',
    'Bearer realm="a, Basic realm=',
    [
      ['bearer', {}],
      ['basic', {}, 'realm='],
    ],
  ],
  [
    'with names of objects',
    'Bearer __proto__="a",constructor="b"',
    [['bearer', JSON.parse('{"__proto__":"a","constructor":"b"}') as Record<string, string>]],
  ],
  ['that is empty', '', []],
  ['of commas only', ',,,', []],
])('reads a challenge %s', (_, header, challenges) => {
  expect(parseChallenges(header).map(plain)).toEqual(challenges);
});

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/).map((text) => text.toLowerCase());
const withParameters = fc.record({
  scheme: token,
  parameters: fc
    .uniqueArray(fc.tuple(token, fc.string({ unit: 'binary', maxLength: 20 })), {
      selector: ([name]) => name,
    })
    .map((list) => new Map(list)),
});
const withToken68 = fc.record({
  scheme: token,
  parameters: fc.constant(new Map<string, string>()),
  token68: fc.stringMatching(/^[A-Za-z0-9._~+/-]{1,20}={0,2}$/),
});

test('reads what it writes, several in one line', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(withParameters, withToken68), { maxLength: 4 }), (challenges) => {
      expect(parseChallenges(challenges.map(formatChallenge).join(', '))).toEqual(challenges);
    }),
  );
});

test('reads any text without failing, and what it read once more the same', () => {
  const piece = fc.constantFrom('"', '\\', ',', '=', ' ', '\t', 'a', 'Bearer ', 'realm=', '"x"', 'é', '\0');
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece).map((pieces) => pieces.join('')),
  );
  fc.assert(
    fc.property(text, (header) => {
      const challenges = parseChallenges(header);
      const plainOnes = challenges.map((challenge) => ({ ...challenge, token68: undefined }));
      expect(parseChallenges(plainOnes.map(formatChallenge).join(', ')).map(plain)).toEqual(
        plainOnes.map(plain),
      );
    }),
    { numRuns: 500 },
  );
});

test.each(['"', '\\"', 'a="', 'a="\\",', 'a=', 'a ', 'a\t=', '=', ',', '"a" ', 'a=b ', 'a==', ' '])(
  'a header of a megabyte of %j takes no time worth mentioning',
  (piece) => {
    const before = process.cpuUsage();
    parseChallenges(`Bearer ${piece.repeat(1_000_000 / piece.length)}`);
    const { user } = process.cpuUsage(before);
    // A quadratic reader takes minutes.
    expect(user / 1000).toBeLessThan(2000);
  },
);
