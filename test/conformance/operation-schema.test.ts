import { describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { LATEST, pushMetadata } from '#ferry/artifact/metadata-artifact.js';
import { newOperation, readOperation, type OperationEntry } from '#ferry/artifact/operation-log.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { digestOf } from '#ferry/io/digest.js';
import { encodeJson } from '#ferry/oci/manifest.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { breachesOf } from './spec.js';

const check = breachesOf('operation');
const digest = digestOf(Buffer.from('x'));
const sha256 = 'a'.repeat(64);
const filename = 'a-1-0.conda';
const record = { name: 'a', version: '1', build: '0', sha256, indexed_timestamp: 1 };
const add: OperationEntry = { kind: 'add', filename, revision: 0, record, manifest: digest };
const replace: OperationEntry = { ...add, kind: 'replace', revision: 2, replaces: 'b'.repeat(64) };
const remove: OperationEntry = { kind: 'remove', filename, revision: 1, yank: true };
const operationOf = (...entries: OperationEntry[]) =>
  newOperation('noarch', entries, digest, new Date()).operation;
const whole = operationOf(add, replace, remove);

async function isRead(document: object): Promise<boolean> {
  const layer = {
    mediaType: 'application/vnd.conda-ferry.operation.v1+json',
    title: 'operation.json',
    bytes: encodeJson(document),
  };
  const channel = new ChannelStore(new MemoryRegistry(), 'c', schemaV0);
  await pushMetadata(channel, 'noarch', 'ledger', [layer], { tags: [LATEST] });
  return readOperation(channel, 'noarch', LATEST).then(
    () => true,
    () => false,
  );
}

describe('the schema of an operation', () => {
  test.each([
    ['all kinds of entries', whole],
    ['one that nothing was published before', { ...whole, based_on: null }],
    ['nothing wanted', operationOf()],
    ['what was listed, with a removal', operationOf({ ...remove, record })],
    ['later fields', { ...whole, x: 1, entries: [{ ...add, x: 1, record: { ...record, depends: [] } }] }],
  ])('accepts what we write: %s', async (_, operation) => {
    expect(check(JSON.parse(JSON.stringify(operation)))).toEqual([]);
    expect(await isRead(operation)).toBe(true);
  });

  test.each<[string, object]>([
    ['a later version', { ...whole, operation_version: 2 }],
    ...Object.keys(whole).map((key): [string, object] => [`no ${key}`, { ...whole, [key]: undefined }]),
    ['a time that is none', { ...whole, at: 'yesterday' }],
    ['another kind', operationOf({ ...add, kind: 'move' } as unknown as OperationEntry)],
    ['a path for a file name', operationOf({ ...add, filename: '../a' })],
    ['half a revision', operationOf({ ...add, revision: 0.5 })],
    ['a revision below 0', operationOf({ ...add, revision: -1 })],
    ['an addition without a record', operationOf({ ...add, record: undefined } as unknown as OperationEntry)],
    ['a record without its digest', operationOf({ ...add, record: { ...record, sha256: 'x' } })],
    [
      'a record without a time',
      operationOf({
        ...add,
        record: { ...record, indexed_timestamp: undefined },
      } as unknown as OperationEntry),
    ],
    [
      'a replacement of nothing',
      operationOf({ ...replace, replaces: undefined } as unknown as OperationEntry),
    ],
    [
      'a removal that does not say whether it stays',
      operationOf({ ...remove, yank: undefined } as unknown as OperationEntry),
    ],
  ])('refuses what we would not read: %s', async (_, operation) => {
    expect(check(JSON.parse(JSON.stringify(operation)))).not.toEqual([]);
    expect(await isRead(operation)).toBe(false);
  });
});
