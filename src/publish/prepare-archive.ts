import { basename } from 'node:path';
import type { ChannelStore } from '../artifact/channel-store.js';
import { readArchiveFile, type ReadArchive } from '../artifact/pack.js';
import type { PackagePlace } from '../artifact/schema.js';
import type { WorkerPool } from '../artifact/worker-pool.js';
import { CheckLog, type Finding } from '../conformance/check-log.js';
import { checkArchive } from '../conformance/check-archive.js';
import { FerryError, isFerryError, isSystemError } from '../errors.js';

/** An archive that may be published, and where it goes. */
export interface PreparedArchive extends ReadArchive {
  readonly path: string;
  readonly place: PackagePlace;
}

/** What {@link prepareArchive} works with. */
export interface PrepareOptions {
  readonly store: ChannelStore;
  readonly workers: WorkerPool;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads an archive and holds it against every rule for archives; a breach of one that must be kept refuses it.
 * @returns the archive, or why it cannot be published: `ARCHIVE_FAULTY` with the findings, `ARCHIVE_…`, `RECORD_INVALID`,
 * `NAME_UNREPRESENTABLE`, `NOT_FOUND`
 */
export async function prepareArchive(
  path: string,
  { store, workers, signal }: PrepareOptions,
): Promise<PreparedArchive | { readonly error: FerryError; readonly findings?: readonly Finding[] }> {
  const filename = basename(path);
  try {
    const archive = await readArchiveFile(path, { workers, signal });
    const place = store.schema.placeOf(archive.name);
    const log = new CheckLog();
    await checkArchive({ archive: { path }, filename, subdir: archive.subdir, where: filename }, log, {
      signal,
    });
    const errors = log.findings.filter(({ severity }) => severity === 'error');
    if (errors.length > 0) return { error: faulty(path, filename, errors), findings: errors };
    return { ...archive, path, place };
  } catch (error) {
    signal?.throwIfAborted();
    if (isSystemError(error, 'EACCES', 'EPERM', 'EIO'))
      return { error: new FerryError('NOT_FOUND', `\`${path}\` cannot be read`, { cause: error }) };
    if (!isFerryError(error) || error.code === 'INTERNAL') throw error;
    return { error };
  }
}

function faulty(path: string, filename: string, [first, ...more]: readonly Finding[]): FerryError {
  const said =
    first === undefined ? '' : `: ${first.clause} asks for ${first.expected}, and there is ${first.found}`;
  const rest = more.length === 0 ? '' : `; ${String(more.length)} more`;
  const rules = more.length === 0 ? 'a rule' : `${String(more.length + 1)} rules`;
  return new FerryError('ARCHIVE_FAULTY', `\`${filename}\` breaks ${rules} for archives${said}${rest}`, {
    hint: `conda-ferry check ${path} says what and where`,
  });
}
