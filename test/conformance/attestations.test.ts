import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { metadataMediaType } from '#ferry/artifact/media-types.js';
import { pushMetadata } from '#ferry/artifact/metadata-artifact.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { MAX_SIDECAR_BYTES } from '#ferry/conda/sidecar.js';
import type { ListedPackage } from '#ferry/conformance/check-documents.js';
import { checkStoredAttestations } from '#ferry/conformance/check-stored-attestations.js';
import { parseArchiveFilename } from '#ferry/conda/names.js';
import { digestHex, digestOf } from '#ferry/io/digest.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { bundleOf, sidecarOf, statementOf, type Statement } from '../support/attestations.js';
import { serveChannel } from '../support/channel-server.js';
import { httpSource } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { checkFolder, withContext } from './checked-channel.js';

const archive = condaPackage({
  name: 'foo',
  version: '1.0',
  build: 'PY3_0',
  subdir: 'noarch',
  index: { noarch: 'generic' },
});
const { filename } = archive;
const sha256 = digestHex(digestOf(archive.bytes));
const right = sidecarOf(bundleOf(statementOf(filename, sha256)));

let channel: string;
beforeEach(async () => {
  channel = await tempFolder();
});

const hexOf = (bytes: Uint8Array): string => digestHex(digestOf(bytes));
const pathOf = (ending: string): string => join(channel, 'noarch', `${filename}${ending}`);

async function offer(attestations: unknown, record: object = {}): Promise<void> {
  const named = attestations === undefined ? {} : { attestations_sha256: attestations };
  await writeChannel(channel, { noarch: [{ ...archive, record: { ...named, ...record } }] });
}

/** Offers a sidecar in both places, and a record that names it. */
async function attest(bytes: Uint8Array): Promise<void> {
  await offer(hexOf(bytes));
  await writeFile(pathOf(`.sigs.${hexOf(bytes)}`), bytes);
  await writeFile(pathOf('.sigs'), bytes);
}

async function found(): Promise<readonly string[]> {
  return (await checkFolder(channel)).clauses;
}

describe('a sidecar', () => {
  test('cep142/array: with a publish attestation conforms', async () => {
    await attest(right);
    const { clauses, looked } = await checkFolder(channel);
    expect(clauses).toEqual([]);
    expect(looked).toEqual(
      expect.arrayContaining(['cep142/same-bytes', 'cep27/subject-digest', 'cep27/signed']),
    );
  });

  test('cep27/predicate-type: may hold statements of other kinds too', async () => {
    const other = { ...statementOf('x', sha256), predicateType: 'https://slsa.dev/provenance/v1' };
    await attest(sidecarOf(bundleOf(statementOf(filename, sha256)), bundleOf(other)));
    expect(await found()).toEqual([]);
  });

  test.each<[string, Uint8Array]>([
    ['cep142/array', Buffer.from('{}')],
    ['cep142/array', Buffer.from('none')],
    ['cep142/array', Buffer.alloc(0)],
    ['cep142/array', Buffer.from('['.repeat(100_000))],
    ['cep142/not-empty', sidecarOf()],
    ['cep142/bundle', sidecarOf(7)],
    ['cep142/bundle', sidecarOf({ ...bundleOf({}), mediaType: 'application/json' })],
    ['cep142/bundle', sidecarOf({ ...bundleOf({}), verificationMaterial: undefined })],
    ['cep142/bundle', sidecarOf({ ...bundleOf({}), dsseEnvelope: undefined })],
    ['cep142/bundle', sidecarOf({ ...bundleOf({}), dsseEnvelope: { payload: '{}' } })],
    ['cep27/signed', sidecarOf({ ...bundleOf(statementOf(filename, sha256)), verificationMaterial: {} })],
    ['cep27/signed', sidecarOf({ ...bundleOf({}), dsseEnvelope: undefined, messageSignature: {} })],
    ['cep27/statement-type', sidecarOf(bundleOf('text'))],
  ])('%s: a breach of it is found, and nothing else', async (clause, bytes) => {
    await attest(bytes);
    expect(await found()).toEqual([clause]);
  });

  test.each<[string, Statement]>([
    ['cep27/statement-type', { _type: 'https://in-toto.io/Statement/v0.1' }],
    [
      'cep27/predicate-type',
      { predicateType: 'https://schemas.conda.org/attestations-publish-2.schema.json' },
    ],
    ['cep27/predicate-type', { predicateType: 1 }],
    ['cep27/one-subject', { subject: [] }],
    ['cep27/one-subject', { subject: 'foo' }],
    ['cep27/subject-name', { subject: [{ name: 'foo-1.1-PY3_0.conda', digest: { sha256 } }] }],
    ['cep27/subject-name', { subject: [{ digest: { sha256 } }] }],
    ['cep27/subject-digest', { subject: [{ name: filename, digest: { sha256: 'a'.repeat(64) } }] }],
    ['cep27/subject-digest', { subject: [{ name: filename, digest: { sha256, md5: '' } }] }],
    ['cep27/subject-digest', { subject: [{ name: filename, digest: { sha256: sha256.toUpperCase() } }] }],
    ['cep27/predicate', { predicate: [] }],
    ['cep27/target-channel', { predicate: { targetChannel: 'https://ferry.example/channel/' } }],
  ])('%s: a statement that breaks it is found, and nothing else', async (clause, change) => {
    await attest(sidecarOf(bundleOf({ ...statementOf(filename, sha256), ...change })));
    expect(await found()).toEqual([clause]);
  });
});

describe('where a sidecar lies', () => {
  test('cep142/present: nowhere, and a record names it', async () => {
    await offer(hexOf(right));
    expect(await found()).toEqual(['cep142/present']);
  });

  test('cep142/present: beside an archive whose record does not name it', async () => {
    await offer(undefined);
    await writeFile(pathOf('.sigs'), right);
    expect(await found()).toEqual(['cep142/present']);
    await writeFile(pathOf('.sigs'), sidecarOf());
    expect(await found()).toEqual([]);
  });

  test('cep142/immutable-url: not under its digest', async () => {
    await attest(right);
    await rm(pathOf(`.sigs.${hexOf(right)}`));
    expect(await found()).toEqual(['cep142/immutable-url']);
  });

  test('cep142/mutable-url: only under its digest', async () => {
    await attest(right);
    await rm(pathOf('.sigs'));
    expect(await found()).toEqual(['cep142/mutable-url']);
  });

  test('cep142/same-bytes: other bytes than under its digest', async () => {
    await attest(right);
    await writeFile(pathOf('.sigs'), sidecarOf(1));
    expect(await found()).toEqual(['cep142/same-bytes']);
    await rm(pathOf(`.sigs.${hexOf(right)}`));
    expect(await found()).toEqual(['cep142/same-bytes']);
  });

  test('cep142/bytes-kept: other bytes under its digest, which are not looked into', async () => {
    await attest(right);
    await writeFile(pathOf(`.sigs.${hexOf(right)}`), 'no JSON');
    expect(await found()).toEqual(['cep142/bytes-kept']);
  });
});

describe('reading sidecars', () => {
  test.each([`../${'a'.repeat(61)}`, 'A'.repeat(64), '', 7, null])(
    'cep142/client-refuses: of `attestations_sha256` %j no address is made',
    async (attestations) => {
      await offer(attestations);
      await using server = await serveChannel(channel);
      const { clauses } = await checkFolder(httpSource(server.url), { subdirs: ['noarch'] });
      expect(clauses).toEqual(['cep142/attestations-sha256']);
      expect(server.requests.filter(({ path }) => path.includes('.sigs'))).toEqual([]);
    },
  );

  test('cep142/client-limits: reading stops at a limit, before anything is parsed', async () => {
    await attest(right);
    await writeFile(pathOf(`.sigs.${hexOf(right)}`), Buffer.alloc(MAX_SIDECAR_BYTES + 1, 0x5b));
    await writeFile(pathOf('.sigs'), Buffer.alloc(MAX_SIDECAR_BYTES + 1, 0x5b));
    expect(await found()).toEqual(['cep142/client-fails']);
  });

  test('cep142/client-fails: what is missing, too large, malformed or other is a finding, never an absence', async () => {
    const problems = [sidecarOf(), Buffer.from('none'), sidecarOf(1)];
    for (const bytes of problems) {
      await attest(bytes);
      expect(await found()).toHaveLength(1);
    }
  });

  test('cep142/client-discovers, cep142/client-content-type: it is asked for by digest, whatever its type is called', async () => {
    await attest(right);
    await using server = await serveChannel(channel, {
      intercept: (request, response) => {
        if (request.url?.includes('.sigs') === true) response.setHeader('content-type', 'text/html');
        return false;
      },
    });
    const { clauses } = await checkFolder(httpSource(server.url), { subdirs: ['noarch'] });
    expect(clauses).toEqual([]);
    const asked = server.requests.map(({ path }) => path).filter((path) => path.includes('.sigs'));
    expect(asked).toEqual([
      `/channel/noarch/${filename}.sigs.${hexOf(right)}`,
      `/channel/noarch/${filename}.sigs`,
    ]);
  });
});

describe.each([schemaV0, schemaV1])('a sidecar in a store of schema $id', (schema) => {
  const listed = (attestations: unknown): ListedPackage => ({
    filename,
    extension: 'conda',
    name: parseArchiveFilename(filename),
    sha256,
    md5: undefined,
    size: archive.bytes.byteLength,
    attestations,
  });

  async function check(store: ChannelStore, attestations: unknown): Promise<readonly string[]> {
    const listing = {
      subdir: 'noarch',
      where: 'noarch/repodata.json',
      archives: [listed(attestations)],
      repodata: undefined,
      companions: { runExports: undefined, patches: undefined },
    };
    return (await withContext({}, async (context) => checkStoredAttestations(store, listing, context)))
      .clauses;
  }

  async function push(store: ChannelStore, bytes: Uint8Array, tag = hexOf(bytes)): Promise<void> {
    const layer = { mediaType: metadataMediaType('attestations'), title: `${filename}.sigs`, bytes };
    await pushMetadata(store, 'noarch', 'attestations', [layer], { tags: [tag] });
  }

  test('cep142/present: is an artifact under its digest', async () => {
    const store = new ChannelStore(new MemoryRegistry(), 'c', schema);
    expect(await check(store, hexOf(right))).toEqual(['cep142/present']);
    await push(store, right);
    expect(await check(store, hexOf(right))).toEqual([]);
    expect(await check(store, undefined)).toEqual([]);
    expect(await check(store, 'A'.repeat(64))).toEqual([]);
  });

  test('cep142/bytes-kept: holds the bytes that its tag says', async () => {
    const store = new ChannelStore(new MemoryRegistry(), 'c', schema);
    await push(store, right, 'a'.repeat(64));
    expect(await check(store, 'a'.repeat(64))).toEqual(['cep142/bytes-kept']);
  });

  test('cep27/subject-digest: is judged as any other', async () => {
    const store = new ChannelStore(new MemoryRegistry(), 'c', schema);
    const bytes = sidecarOf(bundleOf(statementOf(filename, 'b'.repeat(64))));
    await push(store, bytes);
    expect(await check(store, hexOf(bytes))).toEqual(['cep27/subject-digest']);
  });
});
