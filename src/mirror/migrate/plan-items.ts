import { isArchiveFilename, parseArchiveFilename } from '../../conda/names.js';
import { isFerryError, messageOf } from '../../errors.js';
import { forEachConcurrently } from '../../io/pool.js';
import { repositoriesOf } from '../plan.js';
import type { Failure } from '../report.js';
import { findPresent, lackingParts, readSource } from './migrate-item.js';
import type { MigrationContext } from './migration-context.js';
import type { PreparedSubdir } from './prepare-subdir.js';
import type { ArchiveToRead, PlannedMigration } from './report.js';

/** The manifest read and written, and looked at again. */
const REQUESTS_PER_ARTIFACT = 3;
/** Info and index. */
const OTHER_LAYERS = 2;
const REQUESTS_PER_NEW_REPOSITORY = 1;

/** Says what a run would do in a subdir. Reads the source's manifests, and nothing else of it. */
export async function planItems(
  prepared: PreparedSubdir,
  context: MigrationContext,
): Promise<PlannedMigration> {
  const { subdir, items, invalid, repodata, state } = prepared;
  const failing: Failure[] = invalid.map(({ filename, code, message }) => ({ filename, code, message }));
  const toRead: ArchiveToRead[] = [];
  const repositories = new Set<string>();
  const totals = { there: 0, toWrite: 0, archives: 0, bytes: 0, requests: 0 };
  await forEachConcurrently(items, context, async (item) => {
    const fail = (filename: string, error: Parameters<typeof messageOf>[0]): void => {
      failing.push({ filename, code: error.code, message: messageOf(error) });
    };
    const parts = await readSource(item, context).catch((error: unknown) => {
      // What does not answer at all says nothing of this package.
      if (!isFerryError(error) || ['NETWORK', 'TIMEOUT', 'RATE_LIMITED'].includes(error.code)) throw error;
      for (const { filename } of item.records) fail(filename, error);
      return undefined;
    });
    for (const { record, error } of parts?.faults ?? []) fail(record.filename, error);
    if (parts === undefined || parts.archives.length === 0) return;
    if (state.trust !== 'empty' && (await findPresent(item, parts, context)) !== undefined) {
      totals.there += 1;
      return;
    }
    totals.toWrite += 1;
    totals.archives += parts.archives.length;
    repositories.add(item.to.repository);
    const lacking = lackingParts(parts);
    for (const [{ record, layer }, lacks] of lacking)
      toRead.push({ filename: record.filename, size: layer.size, lacks });
    for (const archive of parts.archives)
      if (!context.mounts || lacking.has(archive)) totals.bytes += archive.layer.size;
    totals.requests += REQUESTS_PER_ARTIFACT + parts.archives.length + OTHER_LAYERS + lacking.size;
  });
  const known = repositoriesOf(context.destination, namesOf(prepared.listed.keys()));
  const created = [...repositories].filter((repository) => !known.has(repository)).length;
  return {
    subdir,
    listed: repodata.recordCount,
    artifacts: { there: totals.there, toWrite: totals.toWrite },
    archives: totals.archives,
    toRead: toRead.sort(byFilename),
    bytes: totals.bytes,
    requests: totals.requests + created * REQUESTS_PER_NEW_REPOSITORY,
    withheld: prepared.withheld,
    failing: failing.sort(byFilename),
    unlisted: prepared.unlisted,
  };
}

function byFilename(a: { readonly filename: string }, b: { readonly filename: string }): number {
  return a.filename < b.filename ? -1 : 1;
}

function* namesOf(filenames: Iterable<string>): Generator<string> {
  for (const filename of filenames)
    if (isArchiveFilename(filename)) yield parseArchiveFilename(filename).name;
}
