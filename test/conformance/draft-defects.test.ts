import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { isRepositoryName, isTag } from '#ferry/oci/reference.js';
import { readDefects } from './spec.js';

/*
 * The rules of the draft by their letter, so that its defects can be seen, and the counter-examples that the
 * specification gives for them are known to be right.
 */

type Case = Readonly<Record<'input' | 'actual' | 'expected', Readonly<Record<string, unknown>>>>;

const defects = new Map(
  readDefects().flatMap((file) => file.defects.map((defect) => [defect.id, defect] as const)),
);

function casesOf(id: string): readonly Case[] {
  return defects.get(id)!.counterExample!.cases as unknown as readonly Case[];
}

/** Each pair of one replacement, in the order of the draft. */
const REPLACEMENTS = [
  ['_', '__'],
  ['+', '_P'],
  ['!', '_N'],
] as const;

function encode(text: string): string {
  return REPLACEMENTS.reduce((result, [from, to]) => result.replaceAll(from, to), text);
}

function decodeBackwards(text: string): string {
  return REPLACEMENTS.reduceRight((result, [from, to]) => result.replaceAll(to, from), text);
}

function decodeUnderscoresFirst(text: string): string {
  return REPLACEMENTS.reduce((result, [from, to]) => result.replaceAll(to, from), text);
}

/** What v1/T2 needs: from left to right. */
function scan(text: string): string | undefined {
  const decoded = text.replace(/__|_P|_N/g, (escape) => REPLACEMENTS.find(([, to]) => to === escape)![0]);
  return encode(decoded) === text ? decoded : undefined;
}

function hashed(text: string): string {
  return `h${createHash('sha256').update(text).digest('hex')}`;
}

function placeOf(name: string, version: string, build: string): { leaf: string; tag: string } {
  const leaf = `c${name}`;
  const tag = `${encode(version)}-${encode(build)}`;
  return leaf.length > 64 || tag.length > 128 ? { leaf: hashed(leaf), tag: hashed(tag) } : { leaf, tag };
}

function* textsOver(alphabet: string, maxLength: number): Generator<string> {
  yield '';
  if (maxLength === 0) return;
  for (const rest of textsOver(alphabet, maxLength - 1)) {
    if (rest.length === maxLength - 1) for (const character of alphabet) yield rest + character;
    if (rest !== '') yield rest;
  }
}

describe('the draft of schema v1', () => {
  test('v1/B1: the rule for names gives another result than its example', () => {
    for (const { input, actual, expected } of casesOf('v1/B1')) {
      const { leaf } = placeOf(String(input['name']), '1', '0');
      expect(leaf).toBe(expected['leaf']);
      expect(leaf).not.toBe(actual['leaf']);
    }
  });

  test('v1/B2: the hash of a name is longer than the limit that asks for it', () => {
    for (const { input, actual, expected } of casesOf('v1/B2')) {
      const { leaf } = placeOf(String(input['name']), '1', '0');
      expect({ encodedLength: `c${String(input['name'])}`.length, leafLength: leaf.length }).toEqual(actual);
      expect(leaf).toBe(expected['leaf']);
    }
  });

  test('v1/B3: undone in reverse order, exactly the texts with `_P` or `_N` come back changed; by a scan none', () => {
    for (const { input, actual, expected } of casesOf('v1/B3')) {
      const { build } = input;
      if (typeof build !== 'string') continue;
      const encoded = encode(build);
      expect(encoded).toBe(input['encoded']);
      expect({
        reverseOrder: decodeBackwards(encoded),
        underscoresFirst: decodeUnderscoresFirst(encoded),
      }).toEqual(actual);
      expect(scan(encoded)).toBe(build);
      expect(expected).toEqual({ build });
    }
    const { input, actual } = casesOf('v1/B3').find((one) => 'alphabet' in one.input)!;
    let texts = 0;
    let wrong = 0;
    for (const text of new Set(textsOver(String(input['alphabet']), Number(input['maxLength'])))) {
      texts += 1;
      const isWrong = decodeBackwards(encode(text)) !== text;
      if (isWrong) wrong += 1;
      if (isWrong !== /_[PN]/.test(text) || scan(encode(text)) !== text) expect.fail(text);
    }
    expect({ texts, wrong }).toEqual({ texts: input['texts'], wrong: actual['wrong'] });
    expect(scan('a_')).toBeUndefined();
  });

  test('v1/B4: names of conda remain that are no names of repositories', () => {
    const cep26 = /^(([a-z0-9])|([a-z0-9_](?!_)))[._-]?([a-z0-9]+(\.|-|_|$))*$/;
    for (const { input, actual } of casesOf('v1/B4')) {
      expect(String(input['name'])).toMatch(cep26);
      expect(actual['leaf']).toBe(`c${String(input['name'])}`);
      expect(isRepositoryName(String(actual['leaf']))).toBe(false);
    }
  });

  test('v1/B5, v1/B6: what is hashed and what is not, on both sides of the limits and with an `h` in front', () => {
    for (const { input, actual, expected } of [...casesOf('v1/B5'), ...casesOf('v1/B6')]) {
      const [name, version, build] = ['name', 'version', 'build'].map((key) => String(input[key]));
      expect(placeOf(name!, version!, build!)).toEqual({ leaf: expected['leaf'], tag: expected['tag'] });
      if ('tagLength' in actual) expect(`${version}-${build}`).toHaveLength(Number(actual['tagLength']));
      if ('encodedLength' in actual) expect(`c${name}`).toHaveLength(Number(actual['encodedLength']));
      if ('takenForHashed' in actual) expect(expected['tag']).toMatch(/^h/);
    }
  });

  test('v1/B7: a dash in a version makes a tag of three parts', () => {
    const { input, actual } = casesOf('v1/B7')[0]!;
    const { tag } = placeOf('foo', String(input['version']), String(input['build']));
    expect({ tag, parts: tag.split('-').length }).toEqual(actual);
  });

  test('v1/B8: characters remain that no tag may have', () => {
    for (const { input } of casesOf('v1/B8')) {
      expect(isTag(placeOf('a', String(input['version']), String(input['build'])).tag)).toBe(false);
    }
  });

  test('v1/B9: names with two separators in a row are none in distribution-spec 1.0', () => {
    const version10 = /^[a-z0-9]+([._-][a-z0-9]+)*(\/[a-z0-9]+([._-][a-z0-9]+)*)*$/;
    for (const { input, actual } of casesOf('v1/B9')) {
      const path = String(input['path']);
      expect({ valid10: version10.test(path), valid11: isRepositoryName(path) }).toEqual(actual);
    }
  });

  test('v1/B13: one name has two repositories', () => {
    const [{ input, actual }] = casesOf('v1/B13') as unknown as [
      { input: { name: string; version: string; build: string }[]; actual: { leaves: string[] } },
    ];
    expect(input.map(({ name, version, build }) => placeOf(name, version, build).leaf)).toEqual(
      actual.leaves,
    );
  });

  test('v1/B17: a tag for referrers reads as a version and a build string', () => {
    const { input, actual } = casesOf('v1/B17')[0]!;
    const [version, build] = String(input['tag']).split('-').map(scan);
    expect({ version, build }).toEqual(actual);
    expect(build).toHaveLength(64);
  });

  test('v1/B28: of 255 characters the longest label and subdir leave 13 for the channel path', () => {
    const { input, actual } = casesOf('v1/B28')[0]!;
    const [label, subdir, leaf] = ['labelLength', 'subdirLength', 'leafLength'].map((key) =>
      'a'.repeat(Number(input[key])),
    );
    const around = `${String(input['host'])}//label/${label}/${subdir}/${leaf}`;
    expect(Number(input['limit']) - around.length).toBe(actual['left']);
  });

  test('v1/B30: a hash in upper case is a tag', () => {
    const { input, actual } = casesOf('v1/B30')[0]!;
    expect(isTag(String(input['tag']))).toBe(actual['isTag']);
  });
});
