import { describe, expect, test } from 'vitest';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import type { MetadataFile } from '#ferry/artifact/schema.js';
import { METADATA_FILES } from '#ferry/artifact/schema.js';
import { CheckLog } from '#ferry/conformance/check-log.js';
import { readManifest } from '#ferry/conformance/read-manifest.js';
import { checkMetadataManifest } from '#ferry/conformance/rules/metadata-artifact.js';
import { checkPackageV0 } from '#ferry/conformance/rules/package-v0.js';
import { checkPackageV1 } from '#ferry/conformance/rules/package-v1.js';
import { encodeJson } from '#ferry/oci/manifest.js';
import { readSpecFolder } from './spec.js';

interface Case {
  readonly id: string;
  readonly schema: 'v0' | 'v1';
  readonly direction: string;
  readonly input: {
    readonly kind: 'package' | 'metadata';
    readonly manifest: object;
    readonly leaf?: string;
    readonly tag?: string;
  };
  readonly expected: { readonly breaks: readonly string[] };
}

/** Where one fault breaks several clauses by their letter, `breaks` has all of them, and the checker may leave out these. */
const SAID_BY_OTHERS: ReadonlySet<string> = new Set([
  'v1/M1',
  'v1/P3',
  'v1/P4',
  'v1/P5',
  'v1/P7',
  'v1/R6',
  'v1/R9',
]);

const cases = readSpecFolder('vectors')
  .filter(({ name }) => name === 'manifests.json')
  .flatMap(({ content }) => (content as { readonly cases: readonly Case[] }).cases)
  .filter(({ direction }) => direction === 'decode');

/** Clauses that the rules find broken, without what only informs. */
function brokenIn({ schema: id, input }: Case): readonly string[] {
  const { kind, manifest: document, leaf, tag } = input;
  const schema = id === 'v0' ? schemaV0 : schemaV1;
  const log = new CheckLog();
  const where = 'noarch/x';
  const manifest = readManifest({ bytes: encodeJson(document) }, where, id, log);
  if (manifest !== undefined && kind === 'metadata') {
    const file = fileAt(leaf ?? schema.metadataRepository('repodata.json'), id);
    checkMetadataManifest({ schema, file, where, manifest }, log);
  } else if (manifest !== undefined) {
    const place = leaf ?? leafOf(id, manifest.annotations?.['org.conda.package.name'] ?? 'foo');
    const subject = {
      schema,
      subdir: 'noarch',
      leaf: place,
      tag,
      where,
      manifest,
      index: undefined,
      listed: undefined,
    };
    if (id === 'v1') checkPackageV1(subject, log);
    else checkPackageV0(subject, log);
  }
  return [...new Set(log.findings.filter(({ severity }) => severity !== 'info').map(({ clause }) => clause))];
}

/** Where the vector says nothing of the place, the package is where it belongs. */
function leafOf(schema: 'v0' | 'v1', name: string): string {
  return schema === 'v1' ? `c${name}` : name;
}

function fileAt(leaf: string, id: 'v0' | 'v1'): MetadataFile {
  const schema = id === 'v0' ? schemaV0 : schemaV1;
  const file = METADATA_FILES.find((candidate) => schema.metadataRepository(candidate) === leaf);
  if (file === undefined) throw new Error(`${leaf} holds no metadata`);
  return file;
}

describe('the checker and the vectors agree', () => {
  test('there are vectors', () => {
    expect(cases.length).toBeGreaterThan(70);
  });

  test.each(cases)('$id', (vector) => {
    const broken = brokenIn(vector);
    const { breaks } = vector.expected;
    expect(broken.filter((clause) => !breaks.includes(clause))).toEqual([]);
    expect(breaks.filter((clause) => !broken.includes(clause) && !SAID_BY_OTHERS.has(clause))).toEqual([]);
    expect(broken.length > 0).toBe(breaks.length > 0);
  });
});
