/** An ordinary channel, in a folder or on a web server: its documents, and its archives where their bytes are at hand. */
import { createHash, type Hash } from 'node:crypto';
import type { ChannelSource } from '../conda/channel-source.js';
import type { MetadataFile } from '../artifact/schema.js';
import { isSubdir, KNOWN_SUBDIRS } from '../conda/names.js';
import { FerryError, isFerryError } from '../errors.js';
import { collect, type Bytes } from '../io/bytes.js';
import { forEachConcurrently } from '../io/pool.js';
import { Spool } from '../io/spool.js';
import { checkArchive } from './check-archive.js';
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
} from './check-documents.js';
import { PackageSummaries } from './rules/channeldata.js';
import { chooseSample } from './sample.js';

/**
 * Checks an ordinary channel; its archives only with `deep`.
 * @throws FerryError `CHANNEL_NOT_FOUND`; what the source throws
 */
export async function checkFiles(source: ChannelSource, context: CheckContext): Promise<void> {
  const { log, options } = context;
  const { signal, concurrency, sample } = options;
  const documents = new FileDocuments(source, context);
  const summaries = new PackageSummaries();
  const subdirs = options.subdirs ?? (await source.subdirs({ signal })) ?? KNOWN_SUBDIRS;
  const found: string[] = [];
  const listed: { readonly subdir: string; readonly archive: ListedPackage }[] = [];
  for (const subdir of subdirs) {
    if (!isSubdir(subdir)) throw new FerryError('USAGE', `\`${subdir}\` is no subdir such as \`noarch\``);
    const listing = await checkSubdirDocuments(documents, subdir, summaries, context);
    if (listing === undefined) continue;
    found.push(subdir);
    for (const archive of listing.archives) listed.push({ subdir, archive });
  }
  if (found.length === 0) {
    throw new FerryError('CHANNEL_NOT_FOUND', `there is no repodata at \`${source.url}\``);
  }
  context.counts.subdirs += found.length;
  if (options.subdirs === undefined) {
    log.expect('cep36/noarch-repodata', found.includes('noarch'), () => ({
      where: 'noarch/repodata.json',
      found: 'no repodata',
      expected: 'at least an empty one: clients ask for it first',
    }));
    await checkChannelDocuments(documents, found, summaries, context);
  }
  if (!options.deep) return;
  context.population = listed.length;
  const chosen = sample === undefined ? listed : chooseSample(listed, sample.size, sample.seed);
  options.reporter?.planned?.(chosen.length);
  await forEachConcurrently(chosen, { concurrency, signal }, async ({ subdir, archive }) => {
    await context.look(`${subdir}/${archive.filename}`, async () =>
      checkListed(source, subdir, archive, context),
    );
    options.reporter?.checked?.();
  });
}

/** Reads a listed archive and holds it against its record. */
async function checkListed(
  source: ChannelSource,
  subdir: string,
  { filename, sha256, md5, size }: ListedPackage,
  context: CheckContext,
): Promise<void> {
  const { log, options } = context;
  const where = `${subdir}/${filename}`;
  await using spool = new Spool({ temp: options.temp });
  const sums = { sha256: createHash('sha256'), md5: createHash('md5') };
  try {
    const body = source.openArchive({ subdir, filename, sha256, size }, { signal: options.signal });
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
  await checkArchive({ archive: spool.contents(), filename, subdir, where }, log, options);
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
    return plain === undefined && zst === undefined ? undefined : { where, plain, zst };
  }

  async #open(path: string): Promise<Uint8Array | undefined> {
    const answer = await this.#source.openMetadata(path, { signal: this.#context.options.signal });
    if (answer.status !== 'found') return undefined;
    return collect(answer.body, MAX_DOCUMENT_BYTES, `\`${path}\``);
  }
}
