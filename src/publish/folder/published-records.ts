import { join } from 'node:path';
import { splitRepodata } from '../../conda/shards/split-repodata.js';
import { SHARD_SECTIONS } from '../../conda/shards/shard-files.js';
import { JsonCursor } from '../../conda/json-cursor.js';
import { archiveIdentity } from '../../conda/package-record.js';
import type { JsonObject } from '../../conda/record-details.js';
import { isJsonObject } from '../../conformance/rules/json-value.js';
import { FerryError, isFerryError } from '../../errors.js';
import {
  NO_PATCHES,
  parsePatchInstructions,
  removedBy,
  type PatchInstructions,
} from '../patch-instructions.js';
import type { SubdirRecords } from '../subdir-records.js';
import { readOrUndefined } from './put-file.js';

/** What a server said of an archive, and goes on saying. */
interface ServerFields {
  readonly indexed_timestamp?: unknown;
  readonly attestations_sha256?: unknown;
}

/** What a subdir has published so far, as far as indexing goes on from it. */
export interface PublishedSubdir {
  /** The fields that stay, of an archive whose record has these sums; `undefined` where it is new to the channel. */
  readonly serverFields: (archive: JsonObject) => ServerFields | undefined;
  /** Names of the files that were listed. */
  readonly listed: ReadonlySet<string>;
  /** Names of files that somebody took out of the repodata, other than by patch instructions. */
  readonly withdrawn: ReadonlySet<string>;
  /** The instructions beside the repodata; empty ones where there are none. */
  readonly patches: PatchInstructions;
  /** @see CEP 42 */
  readonly relations: JsonObject | undefined;
}

/**
 * Reads what a subdir has published.
 * @throws FerryError `REPODATA_INVALID` where it cannot be read: to index on without it would lose what only it says
 */
export async function readPublished(folder: string): Promise<PublishedSubdir> {
  const fields = new Map<string, ServerFields>();
  const listed = new Set<string>();
  const removed = new Set<string>();
  // The unpatched repodata has what patches removed, too.
  for (const name of ['repodata_from_packages.json', 'repodata.json']) {
    const records = await readRecords(join(folder, name));
    for (const [filename, record] of records.entries()) {
      if (name === 'repodata.json') listed.add(filename);
      const identity = identityOf(record);
      // What one of them does not say, the other one may.
      if (identity !== undefined)
        fields.set(identity, { ...fields.get(identity), ...serverFieldsOf(record) });
    }
    if (name === 'repodata.json') for (const filename of records.removed) removed.add(filename);
  }
  const patches = await readPatchesIn(folder);
  const patchedAway = removedBy(patches);
  return {
    serverFields: ({ sha256, md5 }) =>
      fields.get(identityOf({ sha256 }) ?? '') ?? fields.get(identityOf({ md5 }) ?? ''),
    listed,
    withdrawn: new Set([...removed].filter((filename) => !patchedAway.has(filename))),
    patches,
    relations: await readRelations(join(folder, 'repodata.json')),
  };
}

/** Reads the records that a subdir lists; none where it has no repodata. @throws FerryError `REPODATA_INVALID` */
export async function readListed(folder: string): Promise<SubdirRecords> {
  const { packages, conda, removed } = await readRecords(join(folder, 'repodata.json'));
  return { packages, 'packages.conda': conda, removed };
}

class Records {
  readonly packages = new Map<string, JsonObject>();
  readonly conda = new Map<string, JsonObject>();
  readonly removed: string[] = [];

  *entries(): Generator<readonly [string, JsonObject]> {
    yield* this.packages;
    yield* this.conda;
  }
}

async function readRecords(path: string): Promise<Records> {
  const records = new Records();
  const bytes = await readOrUndefined(path);
  if (bytes === undefined) return records;
  try {
    for (const { content } of splitRepodata(bytes)) {
      for (const section of SHARD_SECTIONS) {
        const target = section === 'packages' ? records.packages : records.conda;
        for (const [filename, record] of content[section]) target.set(filename, record);
      }
      records.removed.push(...content.removed);
    }
  } catch (cause) {
    if (!isFerryError(cause, 'REPODATA_INVALID')) throw cause;
    throw new FerryError('REPODATA_INVALID', `\`${path}\` cannot be read`, {
      cause,
      hint: 'remove the file to index anew; what only it says, such as indexed_timestamp, is lost then',
    });
  }
  return records;
}

/** Old repodata has no sha256. */
function identityOf({ sha256, md5 }: JsonObject): string | undefined {
  const [hex, other] = [sha256, md5].map((sum) => (typeof sum === 'string' ? sum.toLowerCase() : undefined));
  return archiveIdentity({ sha256: hex, md5: other });
}

/** As an earlier repodata has them, which is unpatched in these. */
function serverFieldsOf({ indexed_timestamp, attestations_sha256 }: JsonObject): ServerFields {
  return {
    ...(indexed_timestamp === undefined ? {} : { indexed_timestamp }),
    ...(attestations_sha256 === undefined ? {} : { attestations_sha256 }),
  };
}

async function readPatchesIn(folder: string): Promise<PatchInstructions> {
  const path = join(folder, 'patch_instructions.json');
  const bytes = await readOrUndefined(path);
  if (bytes === undefined) return NO_PATCHES;
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch (cause) {
    throw new FerryError('REPODATA_INVALID', `\`${path}\` is not JSON`, { cause });
  }
  return parsePatchInstructions(value, `\`${path}\``);
}

async function readRelations(path: string): Promise<JsonObject | undefined> {
  const bytes = await readOrUndefined(path);
  if (bytes === undefined || bytes.byteLength === 0) return undefined;
  let info: unknown;
  const cursor = new JsonCursor(bytes);
  cursor.readObject((key) => {
    const span = cursor.skipValue();
    if (key === 'info') info = cursor.decode(span);
  });
  const relations = isJsonObject(info) ? info['channel_relations'] : undefined;
  return isJsonObject(relations) ? relations : undefined;
}
