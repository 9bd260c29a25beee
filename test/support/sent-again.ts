import { listedRecords, type StoreReader } from './audit.js';

/** Package blobs that were uploaded although a manifest that names them had been accepted, by a registry's access log. */
export async function sentAgain(
  lines: readonly string[],
  reader: StoreReader,
  channel: string,
): Promise<string[]> {
  const packagesOf = new Map<string, string>();
  for (const record of (await listedRecords(reader, channel)) ?? []) {
    packagesOf.set(
      `sha256:${record.sha256}`,
      `${channel}/${record.name}/manifests/${record.version}-${record.build}`,
    );
  }
  const accepted = new Set<string>();
  const again: string[] = [];
  // Twins share a manifest that is accepted twice, so only the digests sent before an acceptance count.
  const sent = new Set<string>();
  for (const line of lines) {
    const request = /"PUT \/v2\/(\S+) HTTP\/1\.1" 201/.exec(line)?.[1];
    // The same archives were sent to other channels too.
    if (request?.startsWith(`${channel}/`) !== true) continue;
    const digest = decodeURIComponent(/digest=([^&\s]+)/.exec(request)?.[1] ?? '');
    const manifest = packagesOf.get(digest);
    if (manifest !== undefined) {
      if (sent.has(digest) && accepted.has(`${manifest} ${digest}`)) again.push(digest);
      sent.add(digest);
    } else if (request.includes('/manifests/')) {
      for (const [blob, place] of packagesOf)
        if (place === request && sent.has(blob)) accepted.add(`${place} ${blob}`);
    }
  }
  return again;
}
