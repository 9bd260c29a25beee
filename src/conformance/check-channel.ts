/** A whole channel in a store, or some of its subdirs: metadata, repositories, and every artifact or a sample of them. */
import type { ChannelStore } from '../artifact/channel-store.js';
import { LATEST } from '../artifact/metadata-artifact.js';
import { OciChannel } from '../artifact/oci-channel.js';
import { schemaV0 } from '../artifact/schema-v0.js';
import { schemaV1 } from '../artifact/schema-v1.js';
import { checkSubdirs, KNOWN_SUBDIRS } from '../conda/names.js';
import { FerryError, UnrepresentableError } from '../errors.js';
import { forEachConcurrently } from '../io/pool.js';
import type { CheckContext } from './check-context.js';
import {
  checkChannelDocuments,
  checkSubdirDocuments,
  type ListedPackage,
  type SubdirListing,
} from './check-documents.js';
import { checkMetadata, StoredDocuments } from './check-metadata.js';
import { checkPackage } from './check-package.js';
import { checkStoredAttestations } from './check-stored-attestations.js';
import type { ClauseId } from './clauses.js';
import { PackageSummaries } from './rules/channeldata.js';
import { checkLeaf } from './rules/leaf.js';
import { checkChannelNames } from './rules/names.js';
import type { ListedArchive } from './rules/package-artifact.js';
import { chooseSample } from './sample.js';

/** A repository below a subdir, with the tags at which repodata lists archives. */
interface PackageRepository {
  readonly subdir: string;
  readonly leaf: string;
  readonly listed: ReadonlyMap<string, readonly ListedArchive[]>;
}

/** As {@link PackageRepository}, while it is put together. */
interface OpenRepository extends PackageRepository {
  readonly listed: Map<string, ListedArchive[]>;
}

/**
 * Checks a channel in a store.
 * @throws FerryError `CHANNEL_NOT_FOUND` where no subdir has repodata; what the store throws
 */
export async function checkChannel(store: ChannelStore, context: CheckContext): Promise<void> {
  const { log, options } = context;
  const { signal } = options;
  checkSubdirs(options.subdirs);
  const subdirs = options.subdirs ?? (await new OciChannel(store).subdirs({ signal }));
  const documents = new StoredDocuments(store, context);
  const summaries = new PackageSummaries();
  const listings: SubdirListing[] = [];
  for (const subdir of subdirs) {
    const listing = await checkSubdirDocuments(documents, subdir, summaries, context);
    if (listing !== undefined) listings.push(listing);
    else if (options.subdirs !== undefined) reportNoRepodata(store, subdir, context);
    await checkMetadata(store, subdir, 'ledger', context);
  }
  if (listings.length === 0) throw await notFound(store, context);
  checkChannelNames({ path: store.path, where: store.location }, log);
  context.counts.subdirs += listings.length;
  if (options.subdirs === undefined) {
    if (!listings.some(({ subdir }) => subdir === 'noarch')) reportNoRepodata(store, 'noarch', context);
    const found = listings.map(({ subdir }) => subdir);
    const hasChanneldata = await checkChannelDocuments(documents, found, summaries, context);
    if (store.schema.id === 'v1') {
      log.expect('v1/C1', hasChanneldata, () => ({
        where: store.schema.metadataRepository('channeldata.json'),
        found: 'no channel data',
        expected: `an artifact under \`${LATEST}\``,
      }));
    }
  }
  for (const listing of listings) await checkStoredAttestations(store, listing, context);
  const repositories = listings.map((listing) => groupByRepository(store, listing, context));
  if (options.sample === undefined)
    await checkAll(store, repositories, options.subdirs ?? [...subdirs, ...KNOWN_SUBDIRS], context);
  else await checkSample(store, repositories, options.sample, context);
}

/** Every repository with every tag, whether repodata lists it or not. */
async function checkAll(
  store: ChannelStore,
  bySubdir: readonly ReadonlyMap<string, PackageRepository>[],
  subdirs: readonly string[],
  context: CheckContext,
): Promise<void> {
  const { concurrency, signal, reporter } = context.options;
  const all = await withUnlisted(store, bySubdir, subdirs, context);
  let planned = all.reduce((total, { listed }) => total + listed.size, 0);
  reporter?.planned?.(planned);
  await forEachConcurrently(all, { concurrency, signal }, async ({ subdir, leaf, listed }) => {
    const reading = checkLeaf(store.schema, subdir, leaf, context.log);
    if (reading.kind !== 'package') return;
    context.counts.repositories += 1;
    const tags = new Set(listed.keys());
    const repository = store.packageRepository(subdir, { repository: leaf });
    await context.look(`${subdir}/${leaf}`, async () => {
      for await (const tag of repository.tags({ signal })) tags.add(tag);
    });
    planned += tags.size - listed.size;
    reporter?.planned?.(planned);
    await forEachConcurrently(tags, { concurrency, signal }, async (tag) => {
      await look({ subdir, leaf, tag, listed: listed.get(tag) ?? [] }, store, context);
    });
  });
}

/** Listed artifacts alone, chosen at random. */
async function checkSample(
  store: ChannelStore,
  bySubdir: readonly ReadonlyMap<string, PackageRepository>[],
  { size, seed }: { readonly size: number; readonly seed: string },
  context: CheckContext,
): Promise<void> {
  const { concurrency, signal, reporter } = context.options;
  const places = bySubdir.flatMap((repositories) =>
    [...repositories.values()].flatMap(({ subdir, leaf, listed }) =>
      [...listed].map(([tag, archives]) => ({ subdir, leaf, tag, listed: archives })),
    ),
  );
  context.population = places.length;
  const chosen = chooseSample(places, size, seed);
  reporter?.planned?.(chosen.length);
  context.counts.repositories += new Set(chosen.map(({ subdir, leaf }) => `${subdir}/${leaf}`)).size;
  await forEachConcurrently(chosen, { concurrency, signal }, async (place) => look(place, store, context));
}

async function look(
  place: {
    readonly subdir: string;
    readonly leaf: string;
    readonly tag: string;
    readonly listed: readonly ListedArchive[];
  },
  store: ChannelStore,
  context: CheckContext,
): Promise<void> {
  const { subdir, leaf, tag: reference, listed } = place;
  await context.look(`${subdir}/${leaf}:${reference}`, async () =>
    checkPackage({ store, subdir, leaf, reference, listed }, context),
  );
  context.options.reporter?.checked?.();
}

/** Groups what repodata lists by where it has to be. */
function groupByRepository(
  store: ChannelStore,
  { subdir, where, archives }: SubdirListing,
  { log }: CheckContext,
): ReadonlyMap<string, PackageRepository> {
  const repositories = new Map<string, OpenRepository>();
  for (const archive of archives) {
    const place = placeOf(archive);
    if (place === undefined) continue;
    const { repository: leaf, tag } = place;
    const repository = repositories.get(leaf) ?? { subdir, leaf, listed: new Map<string, ListedArchive[]>() };
    repositories.set(leaf, repository);
    const { filename, extension, sha256, size } = archive;
    const listed = repository.listed.get(tag) ?? [];
    listed.push({ filename, extension, sha256, size });
    repository.listed.set(tag, listed);
  }
  return repositories;

  function placeOf({ name, filename }: ListedPackage) {
    try {
      return store.schema.placeOf(name);
    } catch (error) {
      if (!(error instanceof UnrepresentableError)) throw error;
      log.report(error.clause as ClauseId, {
        where,
        found: `\`${filename}\` is listed, and has no place: ${error.message}`,
        expected: 'only what the schema can hold',
        hint: 'publish repodata without its record',
      });
      return undefined;
    }
  }
}

/** Adds the repositories that the store has and repodata does not speak of, where the store can tell. */
async function withUnlisted(
  store: ChannelStore,
  bySubdir: readonly ReadonlyMap<string, PackageRepository>[],
  subdirs: readonly string[],
  { options }: CheckContext,
): Promise<readonly PackageRepository[]> {
  const all = bySubdir.flatMap((repositories) => [...repositories.values()]);
  const names = await store.registry.repositories({ signal: options.signal });
  const known = new Set(all.map(({ subdir, leaf }) => store.repositoryName(subdir, leaf)));
  for (const name of names ?? []) {
    const prefix = store.path === '' ? '' : `${store.path}/`;
    const [subdir, leaf, ...deeper] = name.startsWith(prefix) ? name.slice(prefix.length).split('/') : [];
    if (subdir === undefined || leaf === undefined || deeper.length > 0 || known.has(name)) continue;
    if (subdirs.includes(subdir)) all.push({ subdir, leaf, listed: new Map() });
  }
  return all;
}

function reportNoRepodata(store: ChannelStore, subdir: string, { log }: CheckContext): void {
  const where = `${subdir}/${store.schema.metadataRepository('repodata.json')}`;
  const breach = { where, found: 'no repodata', expected: `an artifact under \`${LATEST}\`` };
  if (store.schema.id === 'v1') log.report('v1/R1', breach);
  else if (subdir === 'noarch') log.report('cep36/noarch-repodata', breach);
}

/** The error for a place without a channel, with the schema that would fit. */
async function notFound(store: ChannelStore, { options }: CheckContext): Promise<FerryError> {
  const other = store.schema.id === 'v0' ? schemaV1 : schemaV0;
  const name = store.repositoryName('noarch', other.metadataRepository('repodata.json'));
  const found = await store.registry.repository(name).resolve(LATEST, { signal: options.signal });
  return new FerryError(
    'CHANNEL_NOT_FOUND',
    `there is no repodata of schema ${store.schema.id} at \`${store.location}\``,
    found === undefined
      ? {}
      : { hint: `it holds a channel of schema ${other.id}: pass --schema ${other.id}` },
  );
}
