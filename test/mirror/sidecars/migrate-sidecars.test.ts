import { describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { readLedger } from '#ferry/artifact/ledger.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { check } from '#ferry/conformance/check.js';
import { digestHex, digestOf } from '#ferry/io/digest.js';
import { migrateChannel } from '#ferry/mirror/migrate/migrate.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { attestedChannel } from './attested-channel.js';
import { mirrorChannel, workers } from '../../support/workers.js';

/** A mirror of schema v0 with two attested packages, and the sidecars of these. */
async function attestedMirror(...present: readonly string[]) {
  const { folder, records } = await attestedChannel('aaa', 'bbb');
  const registry = new MemoryRegistry();
  const source = new ChannelStore(registry, 'old', schemaV0);
  const channel = new DirectoryChannel(folder);
  await mirrorChannel({ source: channel, destination: source });
  const sidecars = source.metadataRepository('noarch', 'attestations');
  for (const { filename, attestationsSha256 } of records)
    if (!present.includes(filename)) await sidecars.untag?.(attestationsSha256);
  return { source, destination: new ChannelStore(registry, 'new', schemaV1), records };
}

describe('a migration', () => {
  test('cep142/bytes-kept: carries the sidecars of what it lists, once', async () => {
    const { source, destination, records } = await attestedMirror('aaa-1.0-0.conda', 'bbb-1.0-0.conda');
    const report = await migrateChannel({ source, destination, workers });
    expect(report.subdirs.map(({ failed, migrated }) => [failed, migrated])).toEqual([[[], 2]]);
    const repository = destination.metadataRepository('noarch', 'attestations');
    expect(repository.name).toBe('new/noarch/msigs');
    for (const { attestationsSha256 } of records) {
      const stored = await repository.fetchManifest(attestationsSha256);
      expect(digestHex(digestOf(stored!.bytes))).toBe(digestHex(stored!.descriptor.digest));
    }
    const checked = await check({ kind: 'channel', store: destination }, { name: 'new', deep: true });
    expect(checked.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    const ledger = await readLedger(destination, 'noarch');
    expect(ledger?.sidecars).toBe(true);
    await migrateChannel({ source, destination, workers });
    expect(await readLedger(destination, 'noarch')).toEqual(ledger);
  });

  test('leaves out a record whose sidecar the source does not have, and says so', async () => {
    const { source, destination } = await attestedMirror('aaa-1.0-0.conda');
    await expect(migrateChannel({ source, destination, workers })).rejects.toMatchObject({
      code: 'ATTESTATION_ABSENT',
      message: '`noarch/bbb-1.0-0.conda` cannot be migrated',
    });
    const report = await migrateChannel({ source, destination, workers, keepGoing: true });
    expect(report.subdirs[0]?.failed.map(({ filename, code }) => [filename, code])).toEqual([
      ['bbb-1.0-0.conda', 'ATTESTATION_ABSENT'],
    ]);
    const checked = await check({ kind: 'channel', store: destination }, { name: 'new', deep: true });
    expect(checked.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    expect(checked.checked.records).toBe(1);
    const ledger = await readLedger(destination, 'noarch');
    expect(ledger?.quarantine).toMatchObject([{ filename: 'bbb-1.0-0.conda', code: 'ATTESTATION_ABSENT' }]);
  });
});
