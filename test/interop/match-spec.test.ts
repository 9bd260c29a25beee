import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatMatchSpec } from '#ferry/conda/match-spec/format-match-spec.js';
import { parseMatchSpec, type MatchSpec } from '#ferry/conda/match-spec/match-spec.js';
import { matchesRecord } from '#ferry/conda/match-spec/matches-record.js';
import type { RecordDetails } from '#ferry/conda/record-details.js';
import { parseRecordDetails } from '../support/records.js';
import { compareVersions } from '#ferry/conda/version-order.js';
import { isFerryError } from '#ferry/errors.js';
import { HAS_REAL_REPODATA, REAL_REPODATA } from '../support/channels.js';
import { ROOT } from '../support/ferry.js';
import { openRattlerOracle, type RattlerAnswer, type RattlerOracle } from '../support/rattler-specs.js';

/** Where this project means to differ, and why; see docs/match-specs.md. */
const DEVIATIONS: Readonly<Record<string, string>> = {
  '^r-(?=b).*$': 'look-around is refused',
  '^r-(.)\\1.*$': 'a back-reference is refused',
  '* * ^r.?+$': 'a possessive repeat is refused',
  '* * ^r.{1}{2}.*$': 'a repeat of a repeat is refused; rattler takes the second one as text',
};

function parsed(text: string): MatchSpec | undefined {
  try {
    return parseMatchSpec(text);
  } catch (error) {
    if (isFerryError(error, 'MATCH_SPEC_INVALID')) return undefined;
    throw error;
  }
}

/** rattler reads subdir and file name and does not match them; this project does. */
function expected(
  answer: Exclude<RattlerAnswer, null>,
  records: readonly RecordDetails[],
): readonly string[] {
  const matches = new Set(answer.matches);
  return records
    .filter(({ filename, listedIn }) => {
      const isPlaceMet = answer.subdir === null || answer.subdir === listedIn;
      return (
        isPlaceMet && matches.has(filename) && (answer.filename === null || answer.filename === filename)
      );
    })
    .map(({ filename }) => filename);
}

/** Specs made out of the records: each is sure to be of some use. */
function specsOf(records: readonly RecordDetails[]): string[] {
  const texts: string[] = [];
  const step = Math.floor(records.length / 40);
  for (let index = 0; index < records.length; index += step) {
    const record = records[index];
    if (record === undefined) break;
    const { name, version, build, buildNumber, license, licenseFamily, sha256, md5 } = record;
    const start = version.split(/[._]/).slice(0, 2).join('.');
    texts.push(
      name,
      `${name.toUpperCase()}=${start}`,
      `${name} ${version}`,
      `${name}==${version}`,
      `${name}=${version}=${build}`,
      `${name} ${version} ${build.slice(0, 2)}*`,
      `${name} >=${start},<${version}.1`,
      `${name.slice(0, 4)}* ~=${version}`,
      `^${name.slice(0, 3)}.*$ !=${start}.*`,
      `*=${version}`,
      `* >${version} *${build.slice(-2)}`,
      `*[version="<${version}",build_number=${String(buildNumber)}]`,
      `*[license="${license ?? 'none'}",version="${start}.*|>${version}"]`,
      `*[license_family='${licenseFamily ?? 'none'}', build="^${build.slice(0, 3)}.*$"]`,
      `${name}[sha256=${sha256 ?? ''}]`,
      `*[md5=${md5 ?? ''}]`,
    );
  }
  return texts;
}

describe.runIf(HAS_REAL_REPODATA)('match specs beside those of rattler', () => {
  let oracle: RattlerOracle;
  let records: RecordDetails[];
  beforeAll(async () => {
    oracle = await openRattlerOracle();
    const repodata = JSON.parse(await readFile(REAL_REPODATA, 'utf8')) as {
      readonly packages: Readonly<Record<string, unknown>>;
    };
    records = Object.entries(repodata.packages).map(([filename, record]) =>
      parseRecordDetails(filename, record, 'linux-64'),
    );
  });
  afterAll(async () => oracle[Symbol.asyncDispose]());

  test('cep29: every spec is refused, or matches the very records, as with rattler', async () => {
    const written = JSON.parse(
      await readFile(join(ROOT, 'test', 'interop', 'match-specs.json'), 'utf8'),
    ) as readonly string[];
    const texts = [...new Set([...written, ...specsOf(records)])].filter((text) => !(text in DEVIATIONS));
    const answers = await oracle.match(texts, REAL_REPODATA);
    expect(records.length).toBeGreaterThan(4000);
    expect(texts.length).toBeGreaterThan(900);

    const differences: unknown[] = [];
    let refused = 0;
    let pairs = 0;
    for (const [index, text] of texts.entries()) {
      const answer = answers[index] ?? null;
      const spec = parsed(text);
      if (answer === null || spec === undefined) {
        refused++;
        if ((answer === null) !== (spec === undefined)) differences.push({ text, rattler: answer, spec });
        continue;
      }
      const wanted = expected(answer, records);
      const ours = records.filter((record) => matchesRecord(spec, record)).map(({ filename }) => filename);
      pairs += wanted.length;
      if (ours.join() !== wanted.join()) {
        differences.push({
          text,
          tooMany: ours.filter((filename) => !wanted.includes(filename)).slice(0, 3),
          missing: wanted.filter((filename) => !ours.includes(filename)).slice(0, 3),
        });
      }
    }
    expect(differences).toEqual([]);
    // The comparison would be worth nothing if all were refused, or matched nothing.
    expect(refused).toBeGreaterThan(100);
    expect(refused).toBeLessThan(texts.length / 3);
    expect(pairs).toBeGreaterThan(100_000);
  });

  test('specs are written as rattler writes them', async () => {
    const written = JSON.parse(
      await readFile(join(ROOT, 'test', 'interop', 'match-specs.json'), 'utf8'),
    ) as readonly string[];
    const texts = [...written.filter((text) => parsed(text) !== undefined), ...specsOf(records)];
    const answers = await oracle.match(texts, REAL_REPODATA);
    const differences = texts.flatMap((text, index) => {
      const canonical = answers[index]?.canonical ?? undefined;
      // A path becomes a URL of this machine with rattler.
      if (canonical === undefined || canonical.includes('channel="file:')) return [];
      const ours = formatMatchSpec(parseMatchSpec(text));
      return ours === canonical ? [] : [{ text, ours, canonical }];
    });
    expect(differences).toEqual([]);
  });

  test('what is meant to differ from rattler does', async () => {
    const answers = await oracle.match(Object.keys(DEVIATIONS), REAL_REPODATA);
    for (const [index, [text, reason]] of Object.entries(DEVIATIONS).entries()) {
      expect(answers[index], reason).not.toBeNull();
      expect(parsed(text), reason).toBeUndefined();
    }
    const [upperCase] = await oracle.match(['R-*'], REAL_REPODATA);
    expect(upperCase?.matches).toEqual([]);
    expect(records.filter((record) => matchesRecord(parseMatchSpec('R-*'), record)).length).toBeGreaterThan(
      4000,
    );
  });

  test('cep33: versions are ordered as rattler orders them', async () => {
    const real = [...new Set(records.map(({ version }) => version))];
    const part = fc.constantFrom('0', '1', '2', '10', '01', 'a', 'b', 'rc', 'dev', 'post', 'A', 'alpha');
    const separator = fc.constantFrom('.', '.', '_', '-', '');
    const body = fc
      .array(fc.tuple(part, separator), { minLength: 1, maxLength: 5 })
      .map((pairs) => pairs.map(([text, after]) => text + after).join(''));
    const made = fc.sample(
      fc
        .tuple(
          fc.constantFrom('', '', '', '1!', '0!', '2!'),
          body,
          fc.constantFrom('', '', '', '_', '+1', '+a.2', '..'),
        )
        .map(([epoch, text, end]) => epoch + text + end)
        // See docs/match-specs.md: the release of rattler for JavaScript reads these words otherwise.
        .filter((text) => !/(?:dev|post)[a-z]/i.test(text)),
      { numRuns: 500, seed: 33 },
    );
    const versions = [...new Set([...real, ...made])];
    const rows = await oracle.order(versions);
    const differences: string[] = [];
    for (const [index, a] of versions.entries()) {
      for (const [other, b] of versions.entries()) {
        const sign = rows[index]?.charAt(other);
        const order = compareVersions(a, b);
        const ours = order < 0 ? '<' : order > 0 ? '>' : '=';
        if (sign !== '?' && sign !== ours)
          differences.push(`${a} ${ours} ${b}, with rattler ${String(sign)}`);
      }
      // What is no version for rattler is none here either, and stands below.
      if (rows[index]?.charAt(index) === '?' && compareVersions(a, '0.0dev') >= 0) differences.push(a);
    }
    expect(differences).toEqual([]);
  });
});

test.skipIf(HAS_REAL_REPODATA)(
  'needs ../shared/channels/r_linux-64.repodata.json, which is not there',
  (context) => {
    context.skip();
  },
);
