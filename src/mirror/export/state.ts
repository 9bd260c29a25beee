/** What an export remembers in its folder: whose records are listed there, and which index files belong together. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isSubdir } from '../../conda/names.js';
import { FerryError, isSystemError } from '../../errors.js';
import { writeFileAtomic } from '../../io/atomic-file.js';
import { isDigest, type Digest } from '../../io/digest.js';
import { EXPORT_STATE } from '../../publish/folder/channel-folder.js';

const digest = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value));
const files = z.record(z.string().regex(/^[a-z_]+\.(?:json|msgpack)(?:\.zst)?$/), digest);

const subdirSchema = z.looseObject({
  /** The channel that the listed records come from. */
  source: z.string(),
  /** Index files with their digests, such as `repodata.json`; empty while they are written. */
  files,
  /** File names of records that others listed here and that stay. */
  foreign: z.array(z.string()),
  /** `Last-Modified` of the source's repodata. */
  last_modified: z.string().optional(),
  /** When archives that are too young, and do not say since when they are there, were first seen. */
  waiting: z.record(z.string(), z.iso.datetime()).optional(),
});

const stateSchema = z.looseObject({
  export_version: z.literal(1),
  subdirs: z.record(z.string().refine(isSubdir), subdirSchema),
  /** Files of the channel itself, such as `channeldata.json`. */
  files,
});

/** What is known of one subdir. */
export type SubdirExport = z.infer<typeof subdirSchema>;

/** What is known of the folder. */
export type ExportState = z.infer<typeof stateSchema>;

/** Reads the state of a folder; of one without, nothing is known. @throws FerryError `LEDGER_INVALID` */
export async function readExportState(folder: string): Promise<ExportState> {
  const path = join(folder, EXPORT_STATE);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return { export_version: 1, subdirs: {}, files: {} };
    throw error;
  }
  try {
    return stateSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new FerryError('LEDGER_INVALID', `\`${path}\` cannot be read`, {
      cause,
      hint: 'use the newest conda-ferry that writes there, or remove the file and pass --deep',
    });
  }
}

/** Writes the state of a folder. */
export async function writeExportState(folder: string, state: ExportState): Promise<void> {
  await writeFileAtomic(join(folder, EXPORT_STATE), Buffer.from(`${JSON.stringify(state, undefined, 1)}\n`));
}
