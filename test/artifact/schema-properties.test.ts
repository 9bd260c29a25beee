/** What holds for both schemas, whatever packages are called: no two share a place, and each is read back. */
import { describe, expect, test } from 'vitest';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import type { PackageIdentity, PackagePlace, Schema } from '#ferry/artifact/schema.js';
import { isFerryError, UnrepresentableError } from '#ferry/errors.js';
import { isRepositoryName, isTag } from '#ferry/oci/reference.js';

const ALPHABET = '_+!PNa';
const MAX_LENGTH = 6;
/** All strings over the alphabet up to that length, the empty one too. */
const STRINGS = 55_987;

/** CEP 26, where a name may also be what OCI cannot hold. */
const NAME = /^(?:[a-z0-9]|[a-z0-9_](?!_))[._-]?(?:[a-z0-9]+(?:\.|-|_|$))*$/;
const RANDOM_PACKAGES = 100_000;

function* strings(): Generator<string> {
  let last = [''];
  yield '';
  for (let length = 1; length <= MAX_LENGTH; length += 1) {
    last = last.flatMap((text) => Array.from(ALPHABET, (character) => text + character));
    yield* last;
  }
}

/** Takes packages to their places. Says by throwing, since a million expectations would take minutes. */
class Places {
  readonly #schema: Schema;
  readonly #taken = new Map<string, string>();
  accepted = 0;
  refused = 0;
  hashed = 0;
  /** Clauses for which packages were refused. */
  readonly clauses = new Set<string>();

  constructor(schema: Schema) {
    this.#schema = schema;
  }

  /** @returns whether the package was accepted */
  take(archive: PackageIdentity): boolean {
    const { name, version, build } = archive;
    const place = this.#placeOf(archive);
    if (place === undefined) return false;
    this.accepted += 1;
    const { repository, tag } = place;
    if (!isTag(tag) || !isRepositoryName(repository) || repository.includes('/'))
      throw new Error(`${repository}:${tag} is not legal`);
    if (this.#schema.id === 'v1' && repository.startsWith('h')) this.hashed += 1;
    const back = this.#schema.packageAt(place, this.#schema.packageAnnotations(archive));
    if (back.name !== name || back.version !== version || back.build !== build)
      throw new Error(`${name}-${version}-${build} reads back as ${JSON.stringify(back)}`);
    const key = `${repository}:${tag}`;
    // A line feed is in none of the three.
    const said = `${name}\n${version}\n${build}`;
    const other = this.#taken.get(key);
    if (other !== undefined && other !== said) throw new Error(`${said} and ${other} share ${key}`);
    this.#taken.set(key, said);
    return true;
  }

  #placeOf(archive: PackageIdentity): PackagePlace | undefined {
    try {
      return this.#schema.placeOf(archive);
    } catch (error) {
      if (!(error instanceof UnrepresentableError) || !isFerryError(error, 'NAME_UNREPRESENTABLE'))
        throw error;
      this.refused += 1;
      this.clauses.add(error.clause);
      return undefined;
    }
  }
}

/** Numbers in [0, 1), the same each time. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Packages as CEP 26 and CEP 33 allow them; half of them short, so that many are alike, some as long as can be. */
function* randomPackages(): Generator<PackageIdentity> {
  const random = seeded(20261121);
  const pick = (characters: string): string => characters.charAt(Math.floor(random() * characters.length));
  const text = (characters: string, length: number): string =>
    Array.from({ length }, () => pick(characters)).join('');
  const lengthUpTo = (most: number): number => {
    const kind = random();
    if (kind < 0.5) return 1 + Math.floor(random() * 4);
    return kind < 0.9 ? 1 + Math.floor(random() * most) : most - Math.floor(random() * 3);
  };
  const name = (): string => {
    for (;;) {
      const length = lengthUpTo(64);
      const words = length < 5 ? 'zc_' : 'abchmz0189';
      let made = random() < 0.2 ? '_' : '';
      while (made.length < length) {
        made += text(words, 1 + Math.floor(random() * 12));
        if (made.length < length || random() < 0.05) made += pick('._-');
      }
      made = made.slice(0, 64);
      if (NAME.test(made)) return made;
    }
  };
  for (let count = 0; count < RANDOM_PACKAGES; count += 1) {
    const [versionLength, buildLength] = [lengthUpTo(64), lengthUpTo(64)];
    const epoch = random() < 0.2 ? `${pick('12')}!` : '';
    yield {
      name: name(),
      version:
        `${epoch}${text(versionLength < 5 ? '1_.+PN' : '0123456789abcdefhprcPN._+', versionLength)}`.slice(
          0,
          64,
        ),
      build: text(buildLength < 5 ? 'h_+PN' : '0123456789abcdefhpyPN_.+', buildLength),
    };
  }
}

const v0 = { schema: schemaV0, clauses: ['v0/D1', 'v0/D2', 'v0/D3'], title: 'v0/D1, v0/D2, v0/D3' };
const v1 = {
  schema: schemaV1,
  clauses: ['v1/G2', 'v1/G3'],
  title: 'v1/N2, v1/N3, v1/T1, v1/T2, v1/T4, v1/T5',
};

describe.each([v0, v1])('$title: in schema $schema.id', ({ schema, clauses }) => {
  test.each(['version', 'build'] as const)(
    `of all strings over \`${ALPHABET}\` up to ${MAX_LENGTH} characters as %s no two share a place`,
    (part) => {
      const places = new Places(schema);
      const archive = { name: 'foo', version: '1', build: '0' };
      let count = 0;
      for (const text of strings()) {
        count += 1;
        if (!places.take({ ...archive, [part]: text }) && text !== '') throw new Error(`${text} was refused`);
      }
      expect(count).toBe(STRINGS);
      // The escapes of v0 take other letters than these, and v1 has room for all texts.
      expect(places.accepted).toBe(STRINGS - 1);
    },
  );

  test(`of ${RANDOM_PACKAGES} random packages that CEP 26 allows no two share a place`, () => {
    const places = new Places(schema);
    for (const archive of randomPackages()) places.take(archive);
    expect(places.accepted + places.refused).toBe(RANDOM_PACKAGES);
    expect(places.accepted).toBeGreaterThan(RANDOM_PACKAGES / 2);
    expect([...places.clauses].sort()).toEqual(clauses);
    if (schema.id === 'v1') expect(places.hashed).toBeGreaterThan(RANDOM_PACKAGES / 20);
  });
});

test('v1/B3: undoing the replacements backwards would be wrong for 13,998 of those strings, and where `_P` or `_N` is', () => {
  let wrong = 0;
  for (const text of strings()) {
    const encoded = schemaV1
      .placeOf({ name: 'foo', version: '1', build: `a${text}` })
      .tag.slice('1-a'.length);
    const backwards = encoded.replaceAll('_N', '!').replaceAll('_P', '+').replaceAll('__', '_');
    const isWrong = backwards !== text;
    if (isWrong !== /_[PN]/.test(text)) throw new Error(text);
    if (isWrong) wrong += 1;
  }
  expect(wrong).toBe(13_998);
});
