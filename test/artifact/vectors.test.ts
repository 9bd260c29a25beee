/** Runs the vectors of `spec/vectors/` against our code, as their README says that any program can. */
import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { channelPath } from '#ferry/artifact/channel-path.js';
import { writeInfoLayer } from '#ferry/artifact/info-layer.js';
import { metadataMediaType, ZSTD_SUFFIX } from '#ferry/artifact/media-types.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import {
  isChannelFile,
  METADATA_FILES,
  type MetadataFile,
  type PackageContent,
  type Schema,
} from '#ferry/artifact/schema.js';
import { parseLocation } from '#ferry/cli/locations.js';
import { InfoMembers } from '#ferry/conda/archive/info-members.js';
import { readTar } from '#ferry/conda/archive/tar.js';
import { archiveExtensionOf, isSubdir, parseArchiveFilename } from '#ferry/conda/names.js';
import { isFerryError, UnrepresentableError } from '#ferry/errors.js';
import { digestOf } from '#ferry/io/digest.js';
import type { Annotations, Descriptor } from '#ferry/oci/descriptor.js';
import { encodeJson, parseImageManifest } from '#ferry/oci/manifest.js';
import { parseReference } from '#ferry/oci/reference.js';
import { writeTar, type TarMember } from '../../fixtures/build/tar.mjs';
import { RecordingRegistry } from './recording-registry.js';

const FOLDER = new URL('../../spec/vectors/', import.meta.url);
const AREAS = ['channels', 'hashing', 'info-layers', 'manifests', 'names', 'repodata-names', 'tags'];
const CLAUSE = /^[a-z0-9-]+\/[A-Za-z0-9-]+$/;

type Input = Readonly<Record<string, unknown>>;

interface Case {
  readonly id: string;
  readonly schema?: 'v0' | 'v1';
  readonly direction: 'encode' | 'decode';
  readonly clauses: readonly string[];
  readonly input: Input;
  readonly expected?: Input;
  readonly refused?: string;
}

interface Area {
  readonly area: string;
  readonly description: string;
  readonly clauses: readonly string[];
  readonly cases: readonly Case[];
}

function readArea(area: string): Area {
  return JSON.parse(readFileSync(new URL(`${area}.json`, FOLDER), 'utf8')) as Area;
}

function schemaOf(schema: Case['schema']): Schema {
  return schema === 'v0' ? schemaV0 : schemaV1;
}

/** What a function makes of the input of a case, in the shape of its `expected`. */
type Run = (input: Input, schema: Schema) => unknown;

/** A package as any other, for what a case says nothing of. */
const some = { name: 'foo', version: '1', build: '0' };

const encoders: Readonly<Record<string, Run>> = {
  names: (input, schema) => {
    if (typeof input['filename'] === 'string') {
      const { repository, tag } = schema.placeOf(parseArchiveFilename(input['filename']));
      return { leaf: repository, tag };
    }
    return { leaf: schema.placeOf({ ...some, ...input }).repository };
  },
  tags: (input, schema) =>
    typeof input['time'] === 'string'
      ? { historyTag: schema.historyTag(new Date(input['time'])) }
      : { tag: schema.placeOf({ ...some, ...input }).tag },
  hashing: (input, schema) => {
    const { repository, tag } = schema.placeOf({ ...some, ...input });
    return { leaf: repository, tag };
  },
  channels: encodeChannel,
  'repodata-names': ({ file }, schema) => {
    const isCompressed = String(file).endsWith('.zst');
    const plain = METADATA_FILES.find(
      (candidate) => candidate === (isCompressed ? String(file).slice(0, -4) : file),
    );
    if (plain === undefined) throw new Refusal();
    return {
      level: isChannelFile(plain) ? 'channel' : 'subdir',
      leaf: schema.metadataRepository(plain),
      mediaType: metadataMediaType(plain) + (isCompressed ? ZSTD_SUFFIX : ''),
    };
  },
  manifests: (input, schema) => {
    const manifest =
      'layers' in input
        ? schema.metadataManifest(input['layers'] as Descriptor[])
        : schema.packageManifest(contentOf(input));
    const bytes = encodeJson(manifest);
    return { manifest, digest: digestOf(bytes), size: bytes.byteLength };
  },
};

const decoders: Readonly<Record<string, Run>> = {
  names: ({ leaf }, schema) => {
    const found = schema.readLeaf(String(leaf));
    if (found.kind === 'package') return { kind: found.kind, name: found.name ?? null };
    return found.kind === 'metadata' ? { kind: found.kind, file: found.file ?? null } : found;
  },
  tags: ({ tag, historyTag }, schema) => {
    if (typeof historyTag === 'string') {
      const time = schema.parseHistoryTag(historyTag);
      if (time === undefined) throw new Refusal();
      return { time: time.toISOString().replace('.000Z', 'Z') };
    }
    const { repository } = schema.placeOf(some);
    const { version, build } = schema.packageAt({ repository, tag: String(tag) });
    return { version, build };
  },
  hashing: ({ leaf, tag, annotations }, schema) =>
    schema.packageAt({ repository: String(leaf), tag: String(tag) }, annotations as Annotations),
  channels: ({ reference }) => {
    const { registry, repository, tag } = parseReference(String(reference));
    return { registry, repository, tag };
  },
  'repodata-names': ({ leaf }, schema) => {
    const found = schema.readLeaf(String(leaf));
    if (found.kind !== 'metadata' || found.file === undefined) throw new Refusal();
    return { file: found.file };
  },
};

/** That something is no place of what was asked for, where our code says so by other means than an error. */
class Refusal extends Error {}

function encodeChannel(input: Input, schema: Schema): unknown {
  const { location, path, label, subdir, name, file, host } = input as Readonly<
    Record<string, string | undefined>
  >;
  if (location !== undefined) {
    const registry = parseLocation(location);
    if (registry.kind !== 'registry') throw new Refusal();
    return { registry: registry.host, prefix: channelPath(registry.path, label, schema.id) };
  }
  if (subdir !== undefined && !isSubdir(subdir)) throw new Refusal();
  if (path === undefined) return { subdir };
  if (name === undefined && file === undefined) return { prefix: channelPath(path, label, schema.id) };
  const registry = new RecordingRegistry(
    host === undefined ? {} : { maxNameLength: 255 - `${host}/`.length },
  );
  const store = new ChannelStore(registry, path, schema, label);
  const repository =
    name === undefined
      ? store.metadataRepository(subdir ?? '', file as MetadataFile)
      : store.packageRepository(subdir ?? '', schema.placeOf({ ...some, name }));
  return { repository: repository.name };
}

function contentOf(input: Input): PackageContent {
  const content = input as unknown as PackageContent;
  const packages = content.packages.map((layer) => ({
    ...layer,
    extension: archiveExtensionOf(layer.filename)!,
  }));
  return { ...content, packages };
}

interface VectorMember {
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink';
  readonly mode: string;
  readonly text?: string;
  readonly repeat?: number;
  readonly base64?: string;
  readonly target?: string;
}

/** From the tar of an archive to the info layer, on the way that every archive goes. */
async function infoLayerOf(members: readonly VectorMember[]): Promise<Uint8Array> {
  const tar = writeTar(
    members.map((member): TarMember => {
      const { path, type, target = '', text = '', repeat = 1, base64 } = member;
      const content = base64 === undefined ? text.repeat(repeat) : Buffer.from(base64, 'base64');
      return { path, type, target, mode: Number.parseInt(member.mode, 8), content };
    }),
  );
  const info = new InfoMembers();
  const source = async function* () {
    yield tar;
  };
  await readTar(source(), (member) => info.visit(member));
  return writeInfoLayer(info.finish());
}

describe('the vectors', () => {
  const areas = AREAS.map(readArea);

  test('are one file for each area, and a README', () => {
    expect(readdirSync(FOLDER).sort()).toEqual(['README.md', ...AREAS.map((area) => `${area}.json`)]);
    expect(areas.map(({ area }) => area)).toEqual(AREAS);
  });

  test('have ids that stand once and begin with the area, and name their clauses', () => {
    const cases = areas.flatMap(({ cases }) => cases);
    expect(new Set(cases.map(({ id }) => id)).size).toBe(cases.length);
    for (const area of areas) {
      expect(new Set(area.cases.flatMap(({ clauses }) => clauses))).toEqual(new Set(area.clauses));
      for (const { id, clauses, expected, refused } of area.cases) {
        expect(id).toMatch(new RegExp(`^${area.area}/[a-z0-9_-]+$`));
        expect(clauses.length, id).toBeGreaterThan(0);
        for (const clause of clauses) expect(clause, id).toMatch(CLAUSE);
        expect(expected === undefined, id).toBe(refused !== undefined);
        if (refused !== undefined) expect(clauses, id).toContain(refused);
      }
    }
  });

  test('are of both schemas and both directions', () => {
    for (const area of areas.filter(({ area }) => area !== 'info-layers')) {
      const kinds = new Set(area.cases.map(({ schema, direction }) => `${schema ?? ''} ${direction}`));
      expect(kinds, area.area).toContain('v0 encode');
      expect(kinds, area.area).toContain('v1 encode');
      expect(kinds, area.area).toContain('v1 decode');
    }
  });
});

for (const area of AREAS.filter((name) => name !== 'info-layers')) {
  describe(area, () => {
    // What a rule finds in a manifest is the business of the rules.
    const cases = readArea(area).cases.filter(
      ({ direction }) => area !== 'manifests' || direction === 'encode',
    );
    test.each(cases.map((one) => [one.clauses.join(', '), one.id, one] as const))(
      '%s: %s',
      (_, __, { input, expected, refused, direction, schema }) => {
        const run = (direction === 'encode' ? encoders : decoders)[area]!;
        const result = attempt(() => run(input, schemaOf(schema)));
        if (refused === undefined) expect(result).toEqual({ value: expected });
        else expect(result).toMatchObject({ refused: true });
        const clause = result.clause ?? refused;
        expect(clause).toBe(refused);
      },
    );
  });
}

interface Result {
  readonly value?: unknown;
  readonly refused?: boolean;
  /** Where the error names one. */
  readonly clause?: string | undefined;
}

function attempt(run: () => unknown): Result {
  try {
    return { value: run() };
  } catch (error) {
    if (!(error instanceof Refusal) && !isFerryError(error)) throw error;
    return { refused: true, clause: error instanceof UnrepresentableError ? error.clause : undefined };
  }
}

describe('manifests', () => {
  const good = readArea('manifests').cases.filter(
    ({ expected }) => Array.isArray(expected?.['breaks']) && expected['breaks'].length === 0,
  );
  test.each(good.map((one) => [one.clauses.join(', '), one.id, one] as const))(
    '%s: %s can be read',
    (_, __, { input }) => {
      const bytes = encodeJson(input['manifest']);
      expect(parseImageManifest(bytes)).toEqual(input['manifest']);
    },
  );

  test('good and bad ones are there, of both schemas', () => {
    const bad = readArea('manifests').cases.filter(
      ({ direction, id }) => direction === 'decode' && !good.some((other) => other.id === id),
    );
    expect(good.length).toBeGreaterThan(20);
    expect(bad.length).toBeGreaterThan(30);
    for (const cases of [good, bad])
      expect(new Set(cases.map(({ schema }) => schema))).toEqual(new Set(['v0', 'v1']));
  });
});

describe('info-layers', () => {
  test.each(readArea('info-layers').cases.map((one) => [one.clauses.join(', '), one.id, one] as const))(
    '%s: %s',
    async (_, __, { input, expected }) => {
      const layer = await infoLayerOf(input['members'] as VectorMember[]);
      const described = (bytes: Uint8Array) => ({ digest: digestOf(bytes), size: bytes.byteLength });
      expect({ tar: described(gunzipSync(layer)), gzip: described(layer) }).toEqual(expected);
    },
  );
});
