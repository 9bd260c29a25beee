/** An ordinary channel, in a folder or on a web server: its documents, and its archives where their bytes are at hand. */
import { createHash, type Hash } from 'node:crypto';
import type { ChannelSource } from '../conda/channel-source.js';
import type { MetadataFile } from '../artifact/schema.js';
import { checkSubdirs, KNOWN_SUBDIRS } from '../conda/names.js';
import { SHARD_INDEX } from '../conda/shards/shard-files.js';
import { FerryError, isFerryError } from '../errors.js';
import { collect, type Bytes } from '../io/bytes.js';
import { forEachConcurrently } from '../io/pool.js';
import { Spool } from '../io/spool.js';
import { checkArchive } from './check-archive.js';
import { checkAttestations } from './check-attestations.js';
import type { CheckContext } from './check-context.js';
import type { CheckLog } from './check-log.js';
import type { ClauseId } from './clauses.js';
import {
  checkChannelDocuments,
  checkSubdirDocuments,
  MAX_DOCUMENT_BYTES,
  type DocumentSource,
  type FoundDocument,
  type ListedPackage,
  type SubdirListing,
} from './check-documents.js';
import { checkShards } from './check-shards.js';
import { PackageSummaries } from './rules/channeldata.js';
import { checkChannelNames } from './rules/names.js';
import { checkPlaces } from './rules/places.js';
import { checkRunExportsOfArchive } from './rules/run-exports.js';
import { chooseSample } from './sample.js';

/** An archive with the subdir that lists it. */
interface Listed {
  readonly listing: SubdirListing;
  readonly archive: ListedPackage;
}

/**
 * Checks an ordinary channel. Archives are read with `deep` alone; shards and sidecars with `deep`, or of a sample.
 * @throws FerryError `CHANNEL_NOT_FOUND`; what the source throws
 */
export async function checkFiles(source: ChannelSource, context: CheckContext): Promise<void> {
  const { options } = context;
  const { signal } = options;
  const documents = new FileDocuments(source, context);
  const summaries = new PackageSummaries();
  checkSubdirs(options.subdirs);
  const subdirs = options.subdirs ?? (await source.subdirs({ signal })) ?? KNOWN_SUBDIRS;
  const listings: SubdirListing[] = [];
  for (const subdir of subdirs) {
    const listing = await checkSubdirDocuments(documents, subdir, summaries, context);
    if (listing === undefined) continue;
    listings.push(listing);
    const { repodata } = listing;
    await context.look(`${subdir}/${SHARD_INDEX}`, async () =>
      checkShards({ source, subdir, repodata }, context),
    );
  }
  if (listings.length === 0) {
    throw new FerryError('CHANNEL_NOT_FOUND', `there is no repodata at \`${source.url}\``);
  }
  checkName(source, context);
  context.counts.subdirs += listings.length;
  if (options.subdirs === undefined) await checkWhole(source, documents, listings, summaries, context);
  if (options.deep || options.sample !== undefined) await checkArchives(source, listings, context);
}

/** What can be said of the channel as a whole. */
async function checkWhole(
  source: ChannelSource,
  documents: FileDocuments,
  listings: readonly SubdirListing[],
  summaries: PackageSummaries,
  context: CheckContext,
): Promise<void> {
  const { log, options } = context;
  const found = listings.map(({ subdir }) => subdir);
  log.expect('cep36/noarch-repodata', found.includes('noarch'), () => ({
    where: 'noarch/repodata.json',
    found: 'no repodata',
    expected: 'at least an empty one: clients ask for it first',
  }));
  await checkChannelDocuments(documents, found, summaries, context);
  const isThere = async (path: string): Promise<boolean> => {
    const known = documents.looked.get(path);
    if (known !== undefined) return known;
    const answer = await source.openMetadata(path, { signal: options.signal });
    if (answer.status !== 'found') return false;
    // A body that nobody begins to read keeps its connection.
    for await (const chunk of answer.body) if (chunk.byteLength > 0) break;
    return true;
  };
  await context.look('the places of files', async () => checkPlaces(found, isThere, log));
}

/** All archives, or a sample of them. */
async function checkArchives(
  source: ChannelSource,
  listings: readonly SubdirListing[],
  context: CheckContext,
): Promise<void> {
  const { signal, concurrency, sample, reporter, deep } = context.options;
  const listed = listings.flatMap((listing) =>
    listing.archives.map((archive): Listed => ({ listing, archive })),
  );
  context.population = listed.length;
  const chosen = sample === undefined ? listed : chooseSample(listed, sample.size, sample.seed);
  reporter?.planned?.(chosen.length);
  await forEachConcurrently(chosen, { concurrency, signal }, async (one) => {
    const { subdir } = one.listing;
    const { archive } = one;
    if (deep)
      await context.look(`${subdir}/${archive.filename}`, async () => checkListed(source, one, context));
    await context.look(`${subdir}/${archive.filename}.sigs`, async () =>
      checkAttestations(source, subdir, archive, context),
    );
    reporter?.checked?.();
  });
}

/** Judges a channel's URL; a folder may be called anything. */
function checkName({ url }: ChannelSource, { log }: CheckContext): void {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) return;
  checkChannelNames({ path: new URL(url).pathname.slice(1), url, where: url }, log);
}

/** Reads a listed archive and holds it against its record. */
async function checkListed(
  source: ChannelSource,
  { listing, archive }: Listed,
  context: CheckContext,
): Promise<void> {
  const { log, options } = context;
  const { subdir, companions } = listing;
  const { filename, sha256, md5, size, url } = archive;
  const where = `${subdir}/${filename}`;
  await using spool = new Spool({ temp: options.temp });
  const sums = { sha256: createHash('sha256'), md5: createHash('md5') };
  try {
    const body = source.openArchive({ subdir, filename, sha256, size, url }, { signal: options.signal });
    await spool.fill(hashing(body, Object.values(sums)));
  } catch (error) {
    if (!isFerryError(error, 'ARCHIVE_ABSENT') && !isFerryError(error, 'NOT_FOUND')) throw error;
    log.report('cep36/listed-there', {
      where,
      found: 'no such file',
      expected: 'the archive that repodata lists',
    });
    return;
  }
  context.counts.archives += 1;
  checkAgainstRecord(
    [
      ['cep36/record-sha256', 'sha256', sums.sha256.digest('hex'), sha256],
      ['cep36/record-md5', 'md5', sums.md5.digest('hex'), md5],
      ['cep36/record-size', 'size', String(spool.size), size?.toString()],
    ],
    where,
    log,
  );
  const target = { archive: spool.contents(), filename, subdir, where };
  const { isWhole, runExportsJson: bytes } = await checkArchive(target, log, options);
  if (isWhole) checkRunExportsOfArchive({ bytes, filename, where, ...companions }, log);
}

/** Compares an archive with its record, up to the first difference: other bytes differ in all of this. */
function checkAgainstRecord(
  fields: readonly (readonly [ClauseId, string, string, string | undefined])[],
  where: string,
  log: CheckLog,
): void {
  for (const [clause, field, actual, said] of fields) {
    if (said === undefined) continue;
    const holds = log.expect(clause, actual === said, () => ({
      where,
      found: `${field} ${actual}`,
      expected: `${said}, as its record says`,
    }));
    if (!holds) return;
  }
}

async function* hashing(body: Bytes, sums: readonly Hash[]): Bytes {
  for await (const chunk of body) {
    for (const sum of sums) sum.update(chunk);
    yield chunk;
  }
}

class FileDocuments implements DocumentSource {
  readonly channelUrl: string;
  /** Whether a document was there, in whatever form, by its path. */
  readonly looked = new Map<string, boolean>();
  readonly #source: ChannelSource;
  readonly #context: CheckContext;

  constructor(source: ChannelSource, context: CheckContext) {
    this.channelUrl = source.url;
    this.#source = source;
    this.#context = context;
  }

  async read(subdir: string, file: MetadataFile): Promise<FoundDocument | undefined> {
    const where = subdir === '' ? file : `${subdir}/${file}`;
    const plain = await this.#open(where);
    const zst = await this.#open(`${where}.zst`);
    if (file === 'repodata.json' && plain !== undefined) {
      this.#context.log.expect('cep36/compressed', zst !== undefined, () => ({
        where,
        found: 'no compressed form',
        expected: `\`${where}.zst\``,
      }));
    }
    const isThere = plain !== undefined || zst !== undefined;
    this.looked.set(where, isThere);
    return isThere ? { where, plain, zst } : undefined;
  }

  async #open(path: string): Promise<Uint8Array | undefined> {
    const answer = await this.#source.openMetadata(path, { signal: this.#context.options.signal });
    if (answer.status !== 'found') return undefined;
    return collect(answer.body, MAX_DOCUMENT_BYTES, `\`${path}\``);
  }
}
