import { createHash } from 'node:crypto';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { metadataMediaType } from '#ferry/artifact/media-types.js';
import { pushMetadata } from '#ferry/artifact/metadata-artifact.js';
import type { MetadataFile, SchemaId } from '#ferry/artifact/schema.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { check } from '#ferry/conformance/check.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { zstd } from '../../fixtures/build/zstd.mjs';
import { tempFolder } from '../support/temp.js';
import { mirrorChannel } from '../support/workers.js';

/** A name of 64 characters, which conda allows and schema v1 hashes. */
export const LONG_NAME = 'long'.repeat(16);
/** When the channel was mirrored. */
const MIRRORED_AT = '2026-05-01T00:00:00.000Z';

const NOW = '2026-06-01T00:00:00.000Z';
const SCHEMAS = { v0: schemaV0, v1: schemaV1 } as const;

/** What a test changes of a manifest, as any JSON. */
export interface ManifestDraft {
  layers: LayerDraft[];
  annotations?: Record<string, unknown>;
  [key: string]: unknown;
}

/** As {@link ManifestDraft}. */
export interface LayerDraft {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
}

/** Writes an ordinary channel in which nothing at all is wrong: both formats, twins, escapes, a name that v1 hashes. */
export async function writeSoundChannel(folder: string): Promise<void> {
  const noarch = { subdir: 'noarch', infoFiles: {}, payloadFiles: { 'share/text.txt': 'text\n' } } as const;
  const linux = { ...noarch, subdir: 'linux-64' } as const;
  const record = { indexed_timestamp: Date.parse(MIRRORED_AT) };
  const tool = { ...noarch, name: 'tool', version: '2.1.0', build: 'py_0' };
  const archives = {
    noarch: [
      condaPackage({ ...noarch, name: '_mutex', version: '1.0', build: 'main_0' }),
      tarBz2Package({ ...noarch, name: 'data', version: '1.0+abc', build: '0' }),
      condaPackage(tool),
      tarBz2Package(tool),
    ],
    'linux-64': [
      condaPackage({ ...linux, name: 'lib', version: '1!2.0', build: 'h0_1' }),
      condaPackage({ ...linux, name: LONG_NAME, version: '1.0', build: '0' }),
    ],
  };
  const listed = Object.entries(archives).map(([subdir, built]) => [
    subdir,
    built.map((archive) => ({ ...archive, record })),
  ]);
  await writeChannel(folder, Object.fromEntries(listed) as typeof archives, { companions: true });
}

/** Mirrors the sound channel into a folder of image layouts, with every kind of metadata beside it. */
export async function mirrorSoundChannel(source: string, folder: string, id: SchemaId): Promise<void> {
  await using registry = openLayoutRegistry(folder);
  const store = new ChannelStore(registry, '', SCHEMAS[id]);
  const now = (): Date => new Date(MIRRORED_AT);
  await mirrorChannel({ source: new DirectoryChannel(source), destination: store, now });
  const layout = new StoredLayout(folder, id);
  const push = async (subdir: string, file: MetadataFile, bytes: Uint8Array): Promise<void> => {
    const plain = { mediaType: metadataMediaType(file), title: file, bytes };
    const tags = ['latest', store.schema.historyTag(now())];
    await pushMetadata(store, subdir, file, [plain], { tags });
  };
  for (const subdir of ['noarch', 'linux-64']) {
    const repodata = await layout.metadata(subdir, 'repodata.json');
    await push(subdir, 'current_repodata.json', encode(repodata));
    await push(subdir, 'repodata_from_packages.json', encode(repodata));
    await push(subdir, 'run_exports.json', encode(runExportsOf(subdir, repodata)));
    const patches = {
      packages: {},
      'packages.conda': {},
      patch_instructions_version: 1,
      remove: [],
      revoke: [],
    };
    await push(subdir, 'patch_instructions.json', encode(patches));
  }
  await push('', 'channeldata.json', await readFile(join(source, 'channeldata.json')));
  const times = { created_at: '2026-04-01T00:00:00Z', expires_at: '2026-12-01T00:00:00Z' };
  await push(
    '',
    'notices.json',
    encode({ notices: [{ id: 'a', message: 'Hello', level: 'info', ...times }] }),
  );
}

function runExportsOf(subdir: string, repodata: Record<string, unknown>): unknown {
  const none = (section: string): unknown =>
    Object.fromEntries(
      Object.keys(repodata[section] ?? {}).map((filename) => [filename, { run_exports: {} }]),
    );
  return {
    info: { subdir, version: 1 },
    packages: none('packages'),
    'packages.conda': none('packages.conda'),
  };
}

/** A folder of image layouts, changed on disk with nothing of the library in between. */
export class StoredLayout {
  readonly root: string;
  readonly schema: SchemaId;

  constructor(root: string, schema: SchemaId) {
    this.root = root;
    this.schema = schema;
  }

  /** A copy that goes away with the test. */
  async copy(): Promise<StoredLayout> {
    const folder = await tempFolder();
    await cp(this.root, folder, { recursive: true });
    return new StoredLayout(folder, this.schema);
  }

  async manifest(repository: string, tag: string): Promise<ManifestDraft> {
    const entry = (await this.#index(repository)).find((each) => tagOf(each) === tag);
    if (entry === undefined) throw new Error(`no ${repository}:${tag}`);
    return JSON.parse(await readFile(this.blobPath(repository, entry.digest), 'utf8')) as ManifestDraft;
  }

  /** Changes a manifest; the tag names the changed one then. */
  async edit(repository: string, tag: string, change: (draft: ManifestDraft) => void): Promise<void> {
    const draft = await this.manifest(repository, tag);
    change(draft);
    await this.putManifest(repository, tag, draft);
  }

  async putManifest(repository: string, tag: string, document: Record<string, unknown>): Promise<void> {
    const mediaType = String(document['mediaType']);
    const described = await this.putBlob(repository, mediaType, encode(document));
    const annotations = { 'org.opencontainers.image.ref.name': tag };
    const others = (await this.#index(repository)).filter((entry) => tagOf(entry) !== tag);
    await this.#writeIndex(repository, [...others, { ...described, annotations }]);
  }

  async putBlob(repository: string, mediaType: string, bytes: Uint8Array): Promise<LayerDraft> {
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    await mkdir(join(this.root, repository, 'blobs', 'sha256'), { recursive: true });
    await writeFile(this.blobPath(repository, digest), bytes);
    return { mediaType, digest, size: bytes.byteLength };
  }

  /** Copies an artifact to another place. */
  async put(from: readonly [string, string], to: readonly [string, string]): Promise<void> {
    await mkdir(join(this.root, to[0]), { recursive: true });
    if (from[0] !== to[0]) {
      for (const part of ['blobs', 'oci-layout'])
        await cp(join(this.root, from[0], part), join(this.root, to[0], part), { recursive: true });
    }
    await this.putManifest(...to, await this.manifest(...from));
  }

  /** Removes a repository. */
  async remove(repository: string): Promise<void> {
    await rm(join(this.root, repository), { recursive: true });
  }

  blobPath(repository: string, digest: string): string {
    return join(this.root, repository, 'blobs', digest.replace(':', '/'));
  }

  /** Path of a layer's blob. */
  async layerPath(repository: string, tag: string, layer: number): Promise<string> {
    const { layers } = await this.manifest(repository, tag);
    return this.blobPath(repository, layers[layer]?.digest ?? '');
  }

  /** Replaces the content of a layer, which gets a digest of its own. */
  async replaceLayer(repository: string, tag: string, layer: number, bytes: Uint8Array): Promise<void> {
    const draft = await this.manifest(repository, tag);
    const old = draft.layers[layer];
    if (old === undefined) throw new Error(`no layer ${String(layer)}`);
    draft.layers[layer] = { ...old, ...(await this.putBlob(repository, old.mediaType, bytes)) };
    await this.putManifest(repository, tag, draft);
  }

  /** The JSON of a package's index layer, changed. */
  async editIndex(repository: string, tag: string, change: Record<string, unknown>): Promise<void> {
    const path = await this.layerPath(repository, tag, 2);
    const index = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
    await this.replaceLayer(repository, tag, 2, encode({ ...index, ...change }));
  }

  metadataRepository(subdir: string, file: MetadataFile): string {
    const leaf = SCHEMAS[this.schema].metadataRepository(file);
    return subdir === '' ? leaf : `${subdir}/${leaf}`;
  }

  /** A metadata document. */
  async metadata(subdir: string, file: MetadataFile): Promise<Record<string, unknown>> {
    const path = await this.layerPath(this.metadataRepository(subdir, file), 'latest', 0);
    return JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
  }

  /** Replaces a metadata document in all its forms, under all its tags. */
  async putMetadata(subdir: string, file: MetadataFile, bytes: Uint8Array): Promise<void> {
    const repository = this.metadataRepository(subdir, file);
    const { layers } = await this.manifest(repository, 'latest');
    await this.replaceLayer(repository, 'latest', 0, bytes);
    if (layers.length > 1) await this.replaceLayer(repository, 'latest', 1, zstd(bytes));
    const draft = await this.manifest(repository, 'latest');
    for (const tag of await this.tags(repository)) await this.putManifest(repository, tag, draft);
  }

  /** Changes a metadata document in all its forms. */
  async editMetadata(
    subdir: string,
    file: MetadataFile,
    change: (document: Record<string, unknown>) => Record<string, unknown>,
  ): Promise<void> {
    await this.putMetadata(subdir, file, encode(change(await this.metadata(subdir, file))));
  }

  async tags(repository: string): Promise<string[]> {
    return (await this.#index(repository)).flatMap((entry) => tagOf(entry) ?? []);
  }

  async untag(repository: string, tag: string): Promise<void> {
    await this.#writeIndex(
      repository,
      (await this.#index(repository)).filter((entry) => tagOf(entry) !== tag),
    );
  }

  /** What a check finds: `error v1/P5 at noarch/ctool:2.1.0-py__0`, sorted. */
  async findings({ deep = false }: { readonly deep?: boolean } = {}): Promise<string[]> {
    await using registry = openLayoutRegistry(this.root);
    const store = new ChannelStore(registry, '', SCHEMAS[this.schema]);
    const report = await check(
      { kind: 'channel', store },
      { name: 'x', index: true, deep, now: () => new Date(NOW) },
    );
    if (report.unchecked.length > 0) throw new Error(JSON.stringify(report.unchecked));
    return report.findings.map(({ severity, clause, where }) => `${severity} ${clause} at ${where}`).sort();
  }

  async #index(repository: string): Promise<LayerDraft[]> {
    const path = join(this.root, repository, 'index.json');
    const text = await readFile(path, 'utf8').catch(() => '{"manifests":[]}');
    return (JSON.parse(text) as { manifests: LayerDraft[] }).manifests;
  }

  async #writeIndex(repository: string, manifests: readonly LayerDraft[]): Promise<void> {
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    const path = join(this.root, repository, 'index.json');
    await writeFile(path, encode({ schemaVersion: 2, mediaType, manifests }));
    await writeFile(join(this.root, repository, 'oci-layout'), encode({ imageLayoutVersion: '1.0.0' }));
  }
}

/** A copy of the sound channel as files, to be changed. */
export async function copyFolder(folder: string): Promise<string> {
  const copy = await tempFolder();
  await cp(folder, copy, { recursive: true });
  return copy;
}

/** What a check of an ordinary channel finds, as {@link StoredLayout.findings}. */
export async function findingsInFolder(folder: string): Promise<string[]> {
  const source = new DirectoryChannel(folder);
  const report = await check({ kind: 'files', source }, { name: 'x', deep: true, now: () => new Date(NOW) });
  return report.findings.map(({ severity, clause, where }) => `${severity} ${clause} at ${where}`).sort();
}

/** JSON as bytes. */
export function encode(document: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(document));
}

function tagOf({ annotations }: LayerDraft): string | undefined {
  return annotations?.['org.opencontainers.image.ref.name'];
}
