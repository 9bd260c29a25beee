import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { readLedger, writeLedger } from '#ferry/artifact/ledger.js';
import { REPODATA, ZSTD_SUFFIX } from '#ferry/artifact/media-types.js';
import { LATEST, pushMetadata } from '#ferry/artifact/metadata-artifact.js';
import type { Schema } from '#ferry/artifact/schema.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { digestHex, digestOf } from '#ferry/io/digest.js';
import { faultsOf as faultsIn, type VerifyReport } from '#ferry/mirror/verify/report.js';
import { verifyChannel, type VerifyOptions } from '#ferry/mirror/verify/verify.js';
import { IMAGE_INDEX } from '#ferry/oci/media-types.js';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { zstd } from '../../fixtures/build/zstd.mjs';
import { faultsOf, publishedRepodata } from '../support/audit.js';
import { failingRegistry } from '../support/failing-registry.js';
import { watchedRegistry, type Write } from '../support/watched-registry.js';
import { mirrorFolder, writesOf, type StoreUnderTest } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { workers } from '../support/workers.js';
import { smallConda, smallTarBz2, type BuiltArchive } from '../support/v1-channel.js';
import type { DiskRegistry } from '../support/registries/docker.js';
import {
  fragileLayouts,
  fragileRegistry,
  manifestOf,
  putManifest,
  startFragileRegistry,
  type FragileStore,
} from '../mirror/verify/damage.js';
import { attested, writeSidecars } from '../support/sidecars.js';

const ALONE = smallConda({ name: 'alone' });
const CONDA = smallConda({ name: 'twin' });
const TAR_BZ2 = smallTarBz2({ name: 'twin' });

let registry: DiskRegistry;
let folder: string;
let source: string;
const templates = new Map<string, Promise<FragileStore>>();
beforeAll(async () => {
  registry = await startFragileRegistry();
  folder = await mkdtemp(join(tmpdir(), 'ferry-test-'));
  source = join(folder, 'source');
  await writeChannel(source, { noarch: [ALONE, CONDA, TAR_BZ2] });
});
afterAll(async () => {
  await registry[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const kinds = ['docker-registry', 'image layouts'] as const;

interface Scene {
  readonly store: FragileStore;
  readonly source: string;
  readonly verify: (options?: Partial<VerifyOptions>) => Promise<VerifyReport>;
  readonly repair: (options?: Partial<VerifyOptions>) => Promise<VerifyReport>;
}

async function mirroredOnce(kind: string): Promise<FragileStore> {
  const store =
    kind === 'image layouts'
      ? fragileLayouts(join(folder, 'layouts'))
      : fragileRegistry(registry, 'template');
  await mirrorFolder(source, store.view());
  return store;
}

/** A channel that the source was mirrored to. */
async function mirrored(kind: string, name: string): Promise<Scene> {
  const template = templates.get(kind) ?? mirroredOnce(kind);
  templates.set(kind, template);
  const store = await (await template).copy(name);
  const verify = (options: Partial<VerifyOptions> = {}): Promise<VerifyReport> =>
    verifyChannel({ channel: store.view().store, workers, ...options });
  const repair = (options: Partial<VerifyOptions> = {}): Promise<VerifyReport> =>
    verify({ against: new DirectoryChannel(source), repair: {}, ...options });
  return { store, source, verify, repair };
}

/** A channel in layouts that another source was mirrored to. */
async function mirroredLayouts(
  archives: readonly BuiltArchive[],
  schema?: Schema,
): Promise<Pick<Scene, 'store' | 'source' | 'verify'>> {
  const [own, target] = [await tempFolder(), await tempFolder()];
  const store = fragileLayouts(target);
  await writeChannel(own, { noarch: archives });
  await writeSidecars(own, archives);
  await mirrorFolder(own, store.view(schema));
  const verify = (options: Partial<VerifyOptions> = {}): Promise<VerifyReport> =>
    verifyChannel({ channel: store.view(schema).store, workers, ...options });
  return { store, source: own, verify };
}

/** As `CODE noarch/file`, sorted. */
function seen(report: VerifyReport): string[] {
  return faultsIn(report)
    .map(({ code, subdir, filename }) => `${code} ${subdir}/${filename}`)
    .sort();
}

function repaired(report: VerifyReport): string[] {
  return report.subdirs
    .flatMap((audit) => audit.repaired.map(({ code, filename }) => `${code} ${filename}`))
    .sort();
}

async function expectWhole({ store, verify, source }: Scene): Promise<void> {
  const report = await verify({ depth: 'deep', against: new DirectoryChannel(source) });
  expect([...seen(report), ...report.subdirs.flatMap(({ findings }) => findings)]).toEqual([]);
  const { reader, path } = store.view();
  expect(await faultsOf(reader, `${path}noarch`)).toEqual([]);
}

function repositoryOf({ store }: StoreUnderTest, leaf: string) {
  return store.registry.repository(store.repositoryName('noarch', leaf));
}

/** Every way to lose an artifact: what it is found as at which depth, and whether any store can mend it. */
const damages: readonly {
  readonly name: string;
  readonly harm: (store: FragileStore) => Promise<void>;
  readonly depth: 'manifests' | 'full' | 'deep';
  readonly found: readonly string[];
  /** Whether no store shows it when less is looked at. @defaultValue true */
  readonly isHidden?: boolean;
  /** Whether damaged content has to be written over. @defaultValue false */
  readonly needsRewrite?: boolean;
}[] = [
  {
    name: 'a tag that is gone',
    harm: (store) => store.untag('noarch/twin', '1.0-0'),
    depth: 'manifests',
    found: [`ARTIFACT_MISSING noarch/${CONDA.filename}`, `ARTIFACT_MISSING noarch/${TAR_BZ2.filename}`],
  },
  {
    name: 'a twin that was lost',
    harm: async (store) => {
      const repository = repositoryOf(store.view(), 'twin');
      const { digest: _, ...manifest } = await manifestOf(repository, '1.0-0');
      const layers = manifest.layers.filter(({ mediaType }) => !mediaType.endsWith('package.v1'));
      await putManifest(repository, '1.0-0', { ...manifest, layers });
    },
    depth: 'manifests',
    found: [`LAYER_MISSING noarch/${TAR_BZ2.filename}`],
  },
  {
    name: 'other bytes under the tag',
    harm: async (store) => {
      const folder = await tempFolder();
      await writeChannel(folder, { noarch: [smallConda({ name: 'alone', payload: 'other\n' })] });
      const view = store.view();
      const ledger = await readLedger(view.store, 'noarch');
      const old = await manifestOf(repositoryOf(view, 'repodata.json'), LATEST);
      await mirrorFolder(folder, view, { merge: true, allowOlder: true });
      // As if only the artifact had been overwritten.
      const { digest: _, ...manifest } = old;
      await putManifest(repositoryOf(view, 'repodata.json'), LATEST, manifest);
      if (ledger !== undefined) await writeLedger(view.store, ledger);
    },
    depth: 'manifests',
    found: [`LAYER_DIFFERS noarch/${ALONE.filename}`],
  },
  {
    name: 'another size in the manifest',
    harm: async (store) => {
      const repository = repositoryOf(store.view(), 'alone');
      const { digest: _, ...manifest } = await manifestOf(repository, '1.0-0');
      const [first, ...rest] = manifest.layers;
      // Some stores look at the sizes of blobs, so it is an archive that grew.
      const layers = [{ ...first, digest: rest[0]?.digest, size: rest[0]?.size }, ...rest];
      await putManifest(repository, '1.0-0', { ...manifest, layers });
    },
    depth: 'manifests',
    found: [`LAYER_DIFFERS noarch/${ALONE.filename}`],
  },
  {
    name: 'something else under the tag',
    harm: async (store) => {
      const repository = repositoryOf(store.view(), 'alone');
      await putManifest(
        repository,
        '1.0-0',
        { schemaVersion: 2, mediaType: IMAGE_INDEX, manifests: [] },
        IMAGE_INDEX,
      );
    },
    depth: 'manifests',
    found: [`MANIFEST_UNREADABLE noarch/${ALONE.filename}`],
  },
  {
    name: 'a manifest with a wrong byte',
    harm: async (store) => {
      const { digest } = await manifestOf(repositoryOf(store.view(), 'alone'), '1.0-0');
      await store.corrupt('noarch/alone', digest);
    },
    depth: 'deep',
    isHidden: false,
    found: [`MANIFEST_UNREADABLE noarch/${ALONE.filename}`],
    needsRewrite: true,
  },
  {
    name: 'an artifact without info and index',
    harm: async (store) => {
      const repository = repositoryOf(store.view(), 'twin');
      const { digest: _, ...manifest } = await manifestOf(repository, '1.0-0');
      const layers = manifest.layers.filter(({ mediaType }) => mediaType.includes('.package.'));
      await putManifest(repository, '1.0-0', { ...manifest, layers });
    },
    depth: 'manifests',
    found: [`INFO_MISSING noarch/${CONDA.filename}`],
  },
  {
    name: 'a blob that is gone',
    harm: async (store) => {
      const { layers } = await manifestOf(repositoryOf(store.view(), 'twin'), '1.0-0');
      await store.removeBlob('noarch/twin', layers[1]?.digest ?? '');
    },
    depth: 'full',
    found: [`BLOB_MISSING noarch/${TAR_BZ2.filename}`],
  },
  {
    name: 'an info layer that is gone',
    harm: async (store) => {
      const { layers } = await manifestOf(repositoryOf(store.view(), 'twin'), '1.0-0');
      await store.removeBlob('noarch/twin', layers[2]?.digest ?? '');
    },
    depth: 'full',
    found: [`BLOB_MISSING noarch/${CONDA.filename}`],
  },
  {
    name: 'a config that is gone',
    harm: async (store) => {
      const { config } = await manifestOf(repositoryOf(store.view(), 'alone'), '1.0-0');
      await store.removeBlob('noarch/alone', config.digest);
    },
    depth: 'full',
    found: [`BLOB_MISSING noarch/${ALONE.filename}`],
  },
  {
    name: 'an archive with a wrong byte',
    harm: async (store) => {
      const { layers } = await manifestOf(repositoryOf(store.view(), 'twin'), '1.0-0');
      await store.corrupt('noarch/twin', layers[0]?.digest ?? '');
    },
    depth: 'deep',
    found: [`BLOB_DAMAGED noarch/${CONDA.filename}`],
    needsRewrite: true,
  },
  {
    name: 'an index layer with a wrong byte',
    harm: async (store) => {
      const { layers } = await manifestOf(repositoryOf(store.view(), 'twin'), '1.0-0');
      await store.corrupt('noarch/twin', layers[3]?.digest ?? '');
    },
    depth: 'deep',
    found: [`BLOB_DAMAGED noarch/${CONDA.filename}`],
    needsRewrite: true,
  },
];

describe.each(kinds)('verify of %s', (kind) => {
  test('finds nothing in what a mirror wrote, with one request per tag, and writes nothing', async () => {
    const { store, verify } = await mirrored(kind, 'whole');
    const view = store.view();
    const report = await verify({ channel: view.store });
    expect(seen(report)).toEqual([]);
    expect(report.subdirs).toMatchObject([{ subdir: 'noarch', listed: 3, checked: 3, artifacts: 2 }]);
    expect(writesOf(view)).toEqual([]);
    if (kind !== 'image layouts') {
      const packages = view.requests.filter((request) => /noarch\/(?:alone|twin)\//.test(request));
      expect(packages).toHaveLength(2);
    }
    const full = store.view();
    await verify({ channel: full.store, depth: 'full' });
    if (kind !== 'image layouts') {
      // Manifests, and each of four and five blobs.
      const packages = full.requests.filter((request) => /noarch\/(?:alone|twin)\//.test(request));
      expect(packages).toHaveLength(2 + 4 + 5);
    }
  });

  test.each(damages)(
    '$name: found, mended, and then all is well',
    async ({ name, harm, depth, isHidden, found, needsRewrite }) => {
      const scene = await mirrored(kind, name.replaceAll(/\W+/g, '-'));
      await harm(scene.store);
      if (depth !== 'manifests' && isHidden !== false) expect(seen(await scene.verify())).toEqual([]);
      expect(seen(await scene.verify({ depth }))).toEqual([...found].sort());
      const report = await scene.repair({ depth });
      if (needsRewrite === true && !scene.store.takesAgain) {
        expect(seen(report)).toEqual([...found].sort());
        return;
      }
      expect(seen(report)).toEqual([]);
      expect(repaired(report)).toEqual(found.map((line) => line.replace('noarch/', '')).sort());
      await expectWhole(scene);
    },
  );

  test('what is right is not sent again, and a mended artifact is the one that a mirror writes', async () => {
    const scene = await mirrored(kind, 'frugal');
    const before = await manifestOf(repositoryOf(scene.store.view(), 'twin'), '1.0-0');
    await damages[1]?.harm(scene.store);
    const view = scene.store.view();
    await scene.repair({ channel: view.store });
    const again = scene.store.view();
    expect(repaired(await scene.repair({ channel: again.store, depth: 'deep' }))).toEqual([]);
    expect(writesOf(again)).toEqual([]);
    expect((await manifestOf(repositoryOf(view, 'twin'), '1.0-0')).digest).toBe(before.digest);
    if (kind !== 'image layouts') {
      // One archive, one manifest.
      expect(writesOf(view).filter((request) => request.startsWith('PUT'))).toHaveLength(2);
    }
  });

  test('a source is named by the ledger, if it may be opened; without one a repair is refused', async () => {
    const scene = await mirrored(kind, 'named');
    await scene.store.untag('noarch/alone', '1.0-0');
    await expect(scene.verify({ repair: {} })).rejects.toMatchObject({ code: 'USAGE' });
    const asked: string[] = [];
    const openSource = (name: string): DirectoryChannel => {
      asked.push(name);
      return new DirectoryChannel(scene.source);
    };
    expect(repaired(await scene.verify({ repair: { openSource } }))).toEqual([
      `ARTIFACT_MISSING ${ALONE.filename}`,
    ]);
    expect(asked).toEqual([new DirectoryChannel(scene.source).url]);
    await expectWhole(scene);
  });

  test('what is not to be had stays a finding, and is no longer listed with dropMissing', async () => {
    const shared = await mirrored(kind, 'gone');
    const own = await tempFolder();
    await cp(source, own, { recursive: true });
    const against = new DirectoryChannel(own);
    const scene = { ...shared, source: own };
    await scene.store.untag('noarch/alone', '1.0-0');
    await rm(join(own, 'noarch', ALONE.filename));
    const report = await scene.repair({ against });
    expect(seen(report)).toEqual([`ARTIFACT_MISSING noarch/${ALONE.filename}`]);
    expect(report.subdirs[0]?.unrepaired).toMatchObject([
      { filename: ALONE.filename, code: 'ARCHIVE_ABSENT' },
    ]);
    const dropping = await scene.repair({ against, repair: { dropMissing: true } });
    expect(dropping.subdirs[0]?.dropped).toEqual([ALONE.filename]);
    const after = await scene.verify({ depth: 'deep' });
    expect(seen(after)).toEqual([]);
    expect(after.subdirs[0]?.listed).toBe(2);
    // The next mirror run tries it again.
    await cp(source, own, { recursive: true });
    await mirrorFolder(own, scene.store.view());
    await expectWhole(scene);
  });

  test('a killed repair leaves nothing worse, and the next one goes on', async () => {
    const scene = await mirrored(kind, 'killed');
    await scene.store.untag('noarch/alone', '1.0-0');
    await scene.store.untag('noarch/twin', '1.0-0');
    const stop = new AbortController();
    const reporter = {
      repairing: () => {
        stop.abort(new Error('stopped'));
      },
    };
    await expect(scene.repair({ signal: stop.signal, reporter })).rejects.toThrow('stopped');
    expect(seen(await scene.verify())).toHaveLength(3);
    await scene.repair();
    await expectWhole(scene);
  });
});

describe.each(kinds)('ledger and metadata in %s', (kind) => {
  test('a ledger that is gone, of another repodata, of another schema, or marked: each is found and written anew', async () => {
    const scene = await mirrored(kind, 'ledger');
    const { store } = scene.store.view();
    const ledger = await readLedger(store, 'noarch');
    if (ledger === undefined) throw new Error('no ledger');
    const running = { id: 'x', started: '2026-01-01T00:00:00.000Z' };
    const other = `sha256:${'0'.repeat(64)}` as const;
    const cases = [
      [{ ...ledger, running }, 'LEDGER_RUNNING'],
      [{ ...ledger, schema: 'v9' }, 'LEDGER_SCHEMA'],
      [{ ...ledger, repodata: other }, 'LEDGER_STALE'],
      [{ ...ledger, kept: { 'old-1.0-0.conda': other } }, 'LEDGER_KEPT'],
    ] as const;
    for (const [wrong, code] of cases) {
      await writeLedger(scene.store.view().store, wrong);
      const where = code === 'LEDGER_KEPT' ? 'old-1.0-0.conda' : 'ledger';
      expect(seen(await scene.verify())).toEqual([`${code} noarch/${where}`]);
      expect(repaired(await scene.repair())).toEqual([`${code} ${where}`]);
      await expectWhole(scene);
    }
    await scene.store.untag('noarch/repodata_ledger.json', LATEST);
    expect(seen(await scene.verify())).toEqual(['LEDGER_MISSING noarch/ledger']);
    // A sample vouches for nothing.
    const sample = { size: 1, seed: 'a' };
    expect(seen(await scene.repair({ sample }))).toEqual(['LEDGER_MISSING noarch/ledger']);
    expect(repaired(await scene.repair())).toEqual(['LEDGER_MISSING ledger']);
    await expectWhole(scene);
    // The next run has nothing to send.
    const report = await mirrorFolder(scene.source, scene.store.view());
    expect(report.subdirs).toMatchObject([{ there: 3, added: 0, publishedAs: 'kept' }]);
  });

  test('a ledger of another source is worth a note, and changes nothing', async () => {
    const scene = await mirrored(kind, 'other-source');
    const elsewhere = await tempFolder();
    await writeChannel(elsewhere, { noarch: [ALONE, CONDA, TAR_BZ2] });
    const report = await scene.verify({ against: new DirectoryChannel(elsewhere) });
    expect(seen(report)).toEqual([]);
    expect(report.subdirs[0]?.findings.map(({ code }) => code)).toEqual(['LEDGER_SOURCE']);
  });

  test('a ledger that cannot be read is written anew', async () => {
    const scene = await mirrored(kind, 'unreadable-ledger');
    const { store } = scene.store.view();
    await pushMetadata(
      store,
      'noarch',
      'ledger',
      [{ mediaType: 'application/vnd.conda-ferry.ledger.v1+json', title: 'x', bytes: Buffer.from('{') }],
      { tags: [LATEST] },
    );
    expect(seen(await scene.verify())).toEqual(['LEDGER_UNREADABLE noarch/ledger']);
    await scene.repair();
    await expectWhole(scene);
  });

  test('forms of the repodata that disagree, or of which one is gone, are published again', async () => {
    const scene = await mirrored(kind, 'forms');
    const plain = await readFile(join(scene.source, 'noarch', 'repodata.json'));
    const { store } = scene.store.view();
    const other = zstd(Buffer.from('{"packages":{}}'));
    await pushMetadata(
      store,
      'noarch',
      'repodata.json',
      [
        { mediaType: REPODATA, title: 'repodata.json', bytes: plain },
        { mediaType: REPODATA + ZSTD_SUFFIX, title: 'repodata.json.zst', bytes: other },
      ],
      { tags: [LATEST] },
    );
    expect(seen(await scene.verify())).toEqual([
      'LEDGER_STALE noarch/ledger',
      'REPODATA_FORMS_DIFFER noarch/repodata.json',
    ]);
    await scene.repair();
    await expectWhole(scene);

    for (const at of [0, 1]) {
      const { layers } = await manifestOf(repositoryOf(scene.store.view(), 'repodata.json'), LATEST);
      await scene.store.removeBlob('noarch/repodata.json', layers[at]?.digest ?? '');
      expect(seen(await scene.verify())).toEqual(['REPODATA_UNREADABLE noarch/repodata.json']);
      await scene.repair();
      await expectWhole(scene);
    }
  });

  test('repodata that is gone, or that nobody can read, is told and not guessed', async () => {
    const scene = await mirrored(kind, 'no-repodata');
    const { layers } = await manifestOf(repositoryOf(scene.store.view(), 'repodata.json'), LATEST);
    for (const { digest } of layers) await scene.store.removeBlob('noarch/repodata.json', digest);
    expect(seen(await scene.repair())).toContain('REPODATA_UNREADABLE noarch/repodata.json');
    await scene.store.untag('noarch/repodata.json', LATEST);
    const report = await scene.verify({ subdirs: ['noarch'] });
    expect(seen(report)).toEqual(['REPODATA_MISSING noarch/repodata.json']);
  });

  test('companions and sidecars are looked for', async () => {
    const scene = await mirrored(kind, 'companions');
    const { store } = scene.store.view();
    await pushMetadata(
      store,
      'noarch',
      'run_exports.json',
      [{ mediaType: 'application/octet-stream', title: 'x', bytes: Buffer.from('{}') }],
      { tags: [LATEST] },
    );
    await pushMetadata(
      store,
      '',
      'channeldata.json',
      [{ mediaType: 'application/vnd.conda.channeldata.v1+json', title: 'x', bytes: Buffer.from('{"a":1}') }],
      { tags: [LATEST] },
    );
    const { layers } = await manifestOf(store.metadataRepository('', 'channeldata.json'), LATEST);
    await scene.store.removeBlob('channeldata.json', layers[0]?.digest ?? '');
    expect(seen(await scene.verify())).toEqual([
      'METADATA_UNREADABLE /channeldata.json',
      'METADATA_UNREADABLE noarch/run_exports.json',
    ]);
  });
});

test('a record that names attestations is followed to its sidecar', async () => {
  const sidecar = Buffer.from('[]');
  const digest = digestHex(digestOf(sidecar));
  const { store, verify } = await mirroredLayouts([attested(ALONE, sidecar), CONDA]);
  expect(seen(await verify({ depth: 'deep' }))).toEqual([]);
  await store.untag('noarch/attestations.sigs', digest);
  expect(seen(await verify())).toEqual([`SIDECAR_MISSING noarch/${ALONE.filename}`]);
  const push = (bytes: Uint8Array): Promise<unknown> =>
    pushMetadata(
      store.view().store,
      'noarch',
      'attestations',
      [{ mediaType: 'application/vnd.conda.attestations.v1+json', title: 'x', bytes }],
      { tags: [digest] },
    );
  await push(Buffer.from('{}'));
  expect(seen(await verify())).toEqual([`SIDECAR_UNREADABLE noarch/${ALONE.filename}`]);
  await push(sidecar);
  expect(seen(await verify({ depth: 'deep' }))).toEqual([]);
  await store.removeBlob('noarch/attestations.sigs', `sha256:${digest}`);
  expect(seen(await verify())).toEqual([]);
  expect(seen(await verify({ depth: 'full' }))).toEqual([`SIDECAR_UNREADABLE noarch/${ALONE.filename}`]);
});

test('v1/P6: against the source, what the schema withholds is not missed', async () => {
  const { store, source, verify } = await mirroredLayouts([ALONE, CONDA, TAR_BZ2], schemaV1);
  const against = new DirectoryChannel(source);
  expect(seen(await verify({ against, depth: 'full' }))).toEqual([]);
  await store.untag('noarch/ctwin', '1.0-0');
  expect(seen(await verify({ against }))).toEqual([`ARTIFACT_MISSING noarch/${CONDA.filename}`]);
  expect(seen(await verify({ against, repair: {} }))).toEqual([]);
});

test('both sides: what the source has anew, what it replaced, what is only here', async () => {
  const { verify } = await mirroredLayouts([ALONE, CONDA]);
  const now = await tempFolder();
  const replaced = smallConda({ name: 'twin', payload: 'other\n' });
  const fresh = smallConda({ name: 'fresh' });
  await writeChannel(now, { noarch: [replaced, fresh], 'linux-64': [smallConda({}, 'linux-64')] });
  const report = await verify({ against: new DirectoryChannel(now) });
  expect(seen(report)).toEqual([
    `NOT_MIRRORED noarch/${fresh.filename}`,
    `REPLACED_AT_SOURCE noarch/${replaced.filename}`,
    'REPODATA_MISSING linux-64/repodata.json',
  ]);
  const notes = report.subdirs[0]?.findings.filter(({ severity }) => severity === 'note');
  expect(notes?.map(({ code, filename }) => [code, filename])).toEqual([
    ['LEDGER_SOURCE', 'ledger'],
    ['ONLY_HERE', ALONE.filename],
  ]);
});

test('a repair that finds repodata of somebody else stops, and takes nothing of theirs away', async () => {
  const { store, source, verify } = await mirroredLayouts([ALONE, CONDA]);
  await store.untag('noarch/alone', '1.0-0');
  await rm(join(source, 'noarch', ALONE.filename));
  await store.untag('noarch/twin', '1.0-0');
  const own = store.view().store;
  let isTheirs = false;
  const theirs = Buffer.from('{"packages":{},"packages.conda":{}}');
  const publish = async ({ repository, verb }: Write): Promise<void> => {
    if (isTheirs || verb !== 'push' || repository !== 'noarch/twin') return;
    isTheirs = true;
    const layers = [{ mediaType: REPODATA, title: 'repodata.json', bytes: theirs }];
    await pushMetadata(store.view().store, 'noarch', 'repodata.json', layers, { tags: [LATEST] });
  };
  const registry = watchedRegistry(own.registry, { after: publish });
  const channel = new ChannelStore(registry, own.path, own.schema);
  const against = new DirectoryChannel(source);
  await expect(verify({ channel, against, repair: { dropMissing: true } })).rejects.toMatchObject({
    code: 'TAG_MOVED',
  });
  const { reader, path } = store.view();
  expect(await publishedRepodata(reader, `${path}noarch`)).toEqual(theirs);
});

test('a repair that is killed between any two writes leaves what the next one mends', async () => {
  const { store, source, verify } = await mirroredLayouts([ALONE, CONDA, TAR_BZ2]);
  const against = new DirectoryChannel(source);
  for (let writes = 1, isDone = false; !isDone; writes += 1) {
    await store.untag('noarch/alone', '1.0-0');
    // What is right needs no source.
    await rm(join(source, 'noarch', CONDA.filename), { force: true });
    await damages[1]?.harm(store);
    const own = store.view().store;
    let left = writes;
    const registry = failingRegistry(own.registry, () => (left -= 1) < 0);
    const channel = new ChannelStore(registry, own.path, own.schema);
    isDone = await verify({ channel, against, repair: {} }).then(
      () => true,
      () => false,
    );
    const now = seen(await verify({ depth: 'deep' }));
    expect(now.filter((line) => !line.includes('MISSING'))).toEqual([]);
    if (isDone) expect(now).toEqual([]);
    expect(writes).toBeLessThan(30);
  }
});

test('a sample is the same for the same seed, and is told', async () => {
  const many = Array.from({ length: 12 }, (_, i) => smallConda({ version: String(i) }));
  const { store, verify } = await mirroredLayouts(many);
  for (let i = 0; i < many.length; i += 1) await store.untag('noarch/hello', `${String(i)}-0`);
  const sample = { size: 5, seed: 'tuesday' };
  const reports = [await verify({ sample }), await verify({ sample })];
  expect(reports[0]).toMatchObject({ sample, subdirs: [{ listed: 12, checked: 5 }] });
  expect(seen(reports[0] as VerifyReport)).toHaveLength(5);
  expect(seen(reports[1] as VerifyReport)).toEqual(seen(reports[0] as VerifyReport));
});

test('an archive of the right bytes that is another package is told, and nothing mends it', async () => {
  const { store, source, verify } = await mirroredLayouts([ALONE]);
  // The record's md5 is no one's.
  const view = store.view();
  const text = await readFile(join(source, 'noarch', 'repodata.json'), 'utf8');
  const bytes = Buffer.from(text.replace(/"md5": ?"[0-9a-f]{32}"/, `"md5":"${'0'.repeat(32)}"`));
  expect(bytes.toString()).not.toBe(text);
  await pushMetadata(view.store, 'noarch', 'repodata.json', [{ mediaType: REPODATA, title: 'x', bytes }], {
    tags: [LATEST],
  });
  const report = await verify({ depth: 'deep' });
  expect(seen(report)).toEqual([`ARCHIVE_WRONG noarch/${ALONE.filename}`, 'LEDGER_STALE noarch/ledger']);
  expect(report.subdirs[0]?.findings.find(({ code }) => code === 'ARCHIVE_WRONG')?.repairable).toBe(false);
});

test('a channel of the other schema, and none at all, are told apart', async () => {
  const { store } = await mirroredLayouts([ALONE], schemaV1);
  await expect(verifyChannel({ channel: store.view().store, workers })).rejects.toMatchObject({
    code: 'SCHEMA_CONFLICT',
    hint: 'pass --schema v1',
  });
  await expect(
    verifyChannel({ channel: fragileLayouts(await tempFolder()).view().store }),
  ).rejects.toMatchObject({
    code: 'CHANNEL_NOT_FOUND',
  });
});
