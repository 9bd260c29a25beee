/** Carries out the plan of one subdir: archives first, then what names them. */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { archiveIdentity, type RepodataRecord } from '../../conda/package-record.js';
import { isFerryError, isSystemError, messageOf, type FerryError } from '../../errors.js';
import { writeFileAtomic } from '../../io/atomic-file.js';
import { collect } from '../../io/bytes.js';
import { compareText } from '../../io/compare-text.js';
import type { Digest } from '../../io/digest.js';
import { forEachConcurrently } from '../../io/pool.js';
import { removeTemporaries } from '../../publish/folder/put-file.js';
import { composeRepodata, type Composition } from '../compose.js';
import { checkArchive } from '../receive.js';
import { changedAt, type Failure, type MirrorReporter, type SubdirReport } from '../report.js';
import { MAX_REPODATA_BYTES } from '../snapshot.js';
import { isSourceGone } from '../transfer.js';
import { copySubdirDocuments, removeForms } from './documents.js';
import { writeIndexFiles, type IndexOptions } from './index-files.js';
import type { ExportWork, PrepareExportOptions } from './plan.js';
import type { SubdirExport } from './state.js';

/** What a run has at hand. */
export interface ExportContext extends PrepareExportOptions {
  readonly reporter: MirrorReporter;
  readonly now: () => Date;
  /** Remembers what is known of a subdir. */
  readonly remember: (subdir: string, known: SubdirExport) => Promise<void>;
}

/** Runs the plan of one subdir. @throws FerryError `DISK_FULL`, and what the source throws where it is gone as a whole */
export async function runExport(work: ExportWork, context: ExportContext): Promise<SubdirReport> {
  const { subdir, snapshot } = work;
  const warnings = [...snapshot.warnings, ...work.warnings];
  for (const warning of warnings) context.reporter.warning?.(warning);
  const warn = (message: string): void => {
    warnings.push(message);
    context.reporter.warning?.(message);
  };
  const folder = join(context.folder, subdir);
  await removeTemporaries(folder);
  await removeTemporaries(join(folder, 'shards'));

  const there = new Map(work.there);
  const toAdd = [...work.toAdd];
  await forEachConcurrently(work.toCheck, context, async (record) => {
    const identity = archiveIdentity(record);
    if (identity !== undefined && (await isRight(join(folder, record.filename), record)))
      there.set(record.filename, identity);
    else toAdd.push(record);
  });
  const wereThere = there.size;

  const publisher = new Publisher(work, context, warn);
  const replaced = new Set(
    toAdd.filter((record) => isReplaced(work, record)).map(({ filename }) => filename),
  );
  // Published without them, replaced, published with them: nobody ever finds other bytes than are listed.
  if (replaced.size > 0 && work.previous !== undefined) {
    await removeForms(folder);
    const without = work.previous.splice((filename) => !replaced.has(filename));
    await publisher.publish(await collect(without, MAX_REPODATA_BYTES, `what ${subdir} lists`));
  }
  const failed: Failure[] = work.invalid.map(({ filename, code, message }) => ({ filename, code, message }));
  const addedBytes = await fetchAll(toAdd, there, failed, context);

  await using composition: Composition = await composeRepodata(
    {
      snapshot,
      isThere: (filename) => there.has(filename),
      foreign: work.previous === undefined ? undefined : { repodata: work.previous, filenames: work.foreign },
    },
    context,
  );
  const documents = await copySubdirDocuments(subdir, there, {
    ...context,
    folder,
    before: publisher.before,
    warn,
  });
  // Shards are made out of the text as a whole.
  const read = (text: Pick<Composition, 'open'>): Promise<Uint8Array> =>
    collect(text.open(context), MAX_REPODATA_BYTES, `what ${subdir} lists`);
  const zst = composition.zst && (await read(composition.zst));
  const isNew = await publisher.publish(await read(composition), { zst, documents });
  const publishedAs = !isNew ? 'kept' : composition.unchanged ? 'unchanged' : 'spliced';
  context.reporter.published?.(subdir, publishedAs);
  return {
    subdir,
    publishedAs,
    listed: work.repodata.recordCount,
    there: wereThere,
    added: there.size - wereThere,
    addedBytes,
    artifacts: there.size - wereThere,
    replaced: [...replaced].filter((filename) => there.has(filename)).sort(compareText),
    displaced: [],
    packages: [],
    failed: failed.toSorted((a, b) => (a.filename < b.filename ? -1 : 1)),
    withheld: [],
    kept: [...work.listed.keys()].filter((name) => !there.has(name) && !work.foreign.has(name)).length,
    gone: [...work.listed.keys()].filter((name) => !work.repodata.has(name) && !work.foreign.has(name))
      .length,
    untried: 0,
    leftOut: work.leftOut,
    ...changedAt(snapshot.lastModified),
    warnings,
  };
}

/** Writes the index of a subdir, and before that down whose it is. */
class Publisher {
  readonly #work: ExportWork;
  readonly #context: ExportContext;
  readonly #options: Omit<IndexOptions, 'before' | 'mark'>;
  /** Digests of what was written last. */
  before: Readonly<Record<string, Digest>>;

  constructor(work: ExportWork, context: ExportContext, warn: (message: string) => void) {
    const { subdir, snapshot } = work;
    const known = context.state.subdirs[subdir];
    this.before = known?.source === context.source.url ? known.files : {};
    this.#work = work;
    this.#context = context;
    this.#options = {
      folder: join(context.folder, subdir),
      subdir,
      workers: context.workers,
      createdAt: createdAt(snapshot.lastModified, context.now),
      now: context.now,
      warn,
      signal: context.signal,
    };
  }

  /** @returns whether anything of it is new */
  async publish(
    repodata: Uint8Array,
    more: {
      readonly zst?: Uint8Array | undefined;
      readonly documents?: Readonly<Record<string, Digest>> | undefined;
    } = {},
  ): Promise<boolean> {
    const { before } = this;
    const { zst, documents = before } = more;
    // Until the last of them is written, the files do not belong together.
    const mark = async (): Promise<void> => this.#remember({});
    const { files, isNew } = await writeIndexFiles(repodata, zst, { ...this.#options, before, mark });
    this.before = { ...documents, ...files };
    await this.#remember(this.before);
    return isNew;
  }

  async #remember(files: Readonly<Record<string, Digest>>): Promise<void> {
    const { subdir, snapshot, foreign, waiting } = this.#work;
    const { lastModified } = snapshot;
    await this.#context.remember(subdir, {
      source: this.#context.source.url,
      files: { ...files },
      foreign: [...foreign],
      ...(lastModified === undefined ? {} : { last_modified: lastModified }),
      ...(Object.keys(waiting).length === 0 ? {} : { waiting: { ...waiting } }),
    });
  }
}

/** Fetches archives, each under its name only when it is whole and right. @returns bytes of those that came */
async function fetchAll(
  records: readonly RepodataRecord[],
  there: Map<string, string>,
  failed: Failure[],
  context: ExportContext,
): Promise<number> {
  const { source, folder, reporter, signal } = context;
  let total = 0;
  await forEachConcurrently(records, context, async (record) => {
    const { filename, listedIn: subdir } = record;
    let bytes = 0;
    try {
      const body = source.openArchive({ ...record, subdir }, { signal });
      const checked = checkArchive(body, record);
      const counted = count(checked, (size) => (bytes += size));
      await writeFileAtomic(join(folder, subdir, filename), counted);
    } catch (error) {
      if (!isPackageFault(error) || isSourceGone(error, source)) throw error;
      const failure = { filename, code: error.code, message: messageOf(error) };
      failed.push(failure);
      reporter.archive?.({ subdir, filename, bytes: record.size ?? 0, failure });
      return;
    }
    const identity = archiveIdentity(record);
    if (identity !== undefined) there.set(filename, identity);
    total += bytes;
    reporter.archive?.({ subdir, filename, bytes });
  });
  return total;
}

async function* count(
  source: AsyncIterable<Uint8Array>,
  add: (size: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    add(chunk.byteLength);
    yield chunk;
  }
}

function isPackageFault(error: unknown): error is FerryError {
  return isFerryError(error) && error.code !== 'DISK_FULL' && error.code !== 'INTERNAL';
}

/** Reads an archive and tells whether it is what its record says. */
async function isRight(path: string, record: RepodataRecord): Promise<boolean> {
  try {
    for await (const _ of checkArchive(createReadStream(path), record));
    return true;
  } catch (error) {
    if (isFerryError(error) || isSystemError(error, 'ENOENT')) return false;
    throw error;
  }
}

/** Whether an archive takes the place of other bytes that are listed. */
function isReplaced({ listed }: ExportWork, record: RepodataRecord): boolean {
  const before = listed.get(record.filename);
  return before !== undefined && before !== archiveIdentity(record);
}

function createdAt(lastModified: string | undefined, now: () => Date): Date {
  const date = lastModified === undefined ? undefined : new Date(lastModified);
  return date === undefined || Number.isNaN(date.getTime()) ? now() : date;
}
