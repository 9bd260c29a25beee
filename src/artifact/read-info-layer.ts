import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { INFO_EXPANSION, limitExpansion, type ExpansionLimit } from '../conda/archive/limits.js';
import { readTar, type TarMember, type TarMemberSink } from '../conda/archive/tar.js';
import { FerryError } from '../errors.js';
import { noteFailure, type Bytes, type NotedFailure } from '../io/bytes.js';

/**
 * Reads the info layer of an artifact, whoever wrote it: a tar of `info/` without that prefix, gzipped.
 * @param size of the layer, in bytes
 * @param visit is called for each member, as `readTar` does
 * @param expansion how far the layer may expand
 * @throws FerryError `ARCHIVE_…`; what `layer` fails with, and what `visit` throws
 * @see v0/D5, v1/P3
 */
export async function readInfoLayer(
  layer: Bytes,
  size: number,
  visit: (member: TarMember) => TarMemberSink | undefined,
  expansion: ExpansionLimit = INFO_EXPANSION,
): Promise<void> {
  const gunzip = createGunzip();
  const failure: NotedFailure = {};
  const source = Readable.from(noteFailure(() => layer, failure));
  // What it fails with, reading fails with too.
  const fed = pipeline(source, gunzip).catch(() => undefined);
  try {
    await readTar(limitExpansion(gunzip, size, expansion, 'the info layer'), visit);
  } catch (error) {
    throw failure.error ?? layerFailure(error);
  } finally {
    gunzip.destroy();
    await fed;
  }
}

function layerFailure(error: unknown): unknown {
  const isDamage = error instanceof Error && 'code' in error && String(error.code).startsWith('Z_');
  if (!isDamage) return error;
  return new FerryError('ARCHIVE_CORRUPT', 'the info layer is not whole gzip', { cause: error });
}
