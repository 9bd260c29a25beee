import { FerryError } from '../../errors.js';
import type { ArchiveFile } from './archive-file.js';
import { readZipEntry, type ZipEntryRange } from './conda-zip.js';
import { limitExceeded, MAX_METADATA_JSON_BYTES } from './limits.js';
import { shorten } from './member-path.js';

/** The only version there is. @see CEP 35 */
const CONDA_FORMAT_VERSION = 2;

/**
 * Checks that `metadata.json` of a `.conda` names the format that is known here.
 * @throws FerryError `ARCHIVE_FORMAT_VERSION`, `ARCHIVE_LIMIT_EXCEEDED`, `ARCHIVE_CORRUPT`
 * @see CEP 35
 */
export async function checkCondaMetadata(
  file: ArchiveFile,
  entry: ZipEntryRange,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (entry.size > MAX_METADATA_JSON_BYTES) {
    throw limitExceeded(
      `\`metadata.json\` has ${String(entry.size)} bytes, allowed are ${String(MAX_METADATA_JSON_BYTES)}`,
    );
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of readZipEntry(file, entry, signal)) chunks.push(new Uint8Array(chunk));
  const version = formatVersion(Buffer.concat(chunks).toString('utf8'));
  if (version !== CONDA_FORMAT_VERSION) {
    const found =
      version === undefined ? 'no format version' : `format version \`${shorten(JSON.stringify(version))}\``;
    throw new FerryError(
      'ARCHIVE_FORMAT_VERSION',
      `\`metadata.json\` has ${found}, known is ${String(CONDA_FORMAT_VERSION)}`,
    );
  }
}

function formatVersion(text: string): unknown {
  try {
    const metadata: unknown = JSON.parse(text);
    if (typeof metadata !== 'object' || metadata === null) return undefined;
    return (metadata as { readonly conda_pkg_format_version?: unknown }).conda_pkg_format_version;
  } catch {
    return undefined;
  }
}
