import { expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { OPERATION } from '#ferry/artifact/media-types.js';
import { pushMetadata } from '#ferry/artifact/metadata-artifact.js';
import {
  deleteOperations,
  isOperationTag,
  listOperations,
  logOperation,
  newOperation,
  operationTime,
  readOperation,
  type OperationEntry,
} from '#ferry/artifact/operation-log.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { isFerryError } from '#ferry/errors.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { rejection } from '../contracts/artifacts.js';

const AT = new Date('2026-11-21T07:35:09.123Z');
const ADD: OperationEntry = {
  kind: 'add',
  filename: 'a-1-0.conda',
  revision: 0,
  record: { name: 'a', version: '1', build: '0', sha256: 'a'.repeat(64), indexed_timestamp: 5, other: [1] },
};
const REMOVE: OperationEntry = { kind: 'remove', filename: 'a-1-0.tar.bz2', revision: 1, yank: true };

function openStore(schema = schemaV0): ChannelStore {
  return new ChannelStore(new MemoryRegistry(), 'org/channel', schema);
}

test.each([schemaV0, schemaV1])('an operation of schema $id is read as it was logged', async (schema) => {
  const store = openStore(schema);
  const logged = newOperation('noarch', [ADD, REMOVE], undefined, AT);
  await logOperation(store, logged);
  await logOperation(store, logged);
  expect(await listOperations(store, 'noarch')).toEqual([logged.tag]);
  expect(await readOperation(store, 'noarch', logged.tag)).toEqual(logged.operation);
  expect(await listOperations(store, 'linux-64')).toEqual([]);
});

test('tags tell the time, differ from writer to writer, and are told from others', () => {
  const tags = Array.from({ length: 100 }, () => newOperation('noarch', [ADD], undefined, AT).tag);
  expect(new Set(tags).size).toBe(100);
  for (const tag of tags) {
    expect(tag).toMatch(/^op-20261121t073509123z-[0-9a-f]{12}$/);
    expect(isOperationTag(tag)).toBe(true);
    expect(operationTime(tag)).toEqual(AT);
  }
  for (const tag of ['latest', 'op-', '2026.11.21.07.35.09', 'op-20261121t073509z-0a1b2c3d4e5f'])
    expect([isOperationTag(tag), operationTime(tag)]).toEqual([false, undefined]);
  expect(operationTime('op-20269921t073509123z-0a1b2c3d4e5f')).toBeUndefined();
});

test('the log lists operations only, the oldest first', async () => {
  const store = openStore();
  const layer = { mediaType: OPERATION, title: 'operation.json', bytes: Buffer.from('{}') };
  await pushMetadata(store, 'noarch', 'ledger', [layer], { tags: ['latest'] });
  const made = [3, 1, 2].map((day) =>
    newOperation('noarch', [ADD], undefined, new Date(Date.UTC(2026, 0, day))),
  );
  for (const one of made) await logOperation(store, one);
  expect(await listOperations(store, 'noarch')).toEqual(made.map(({ tag }) => tag).sort());
});

test('one that is gone is passed over', async () => {
  const store = openStore();
  const logged = newOperation('noarch', [ADD], undefined, AT);
  expect(await readOperation(store, 'noarch', logged.tag)).toBeUndefined();
  await logOperation(store, logged);
  expect(await deleteOperations(store, 'noarch', [logged.tag, logged.tag])).toBe(1);
  expect(await readOperation(store, 'noarch', logged.tag)).toBeUndefined();
  expect(await listOperations(store, 'noarch')).toEqual([]);
});

const good = newOperation('noarch', [ADD], undefined, AT).operation;

test.each<[string, unknown]>([
  ['no JSON', '{'],
  ['of a later version', { ...good, operation_version: 2 }],
  ['of another subdir', { ...good, subdir: 'linux-64' }],
  ['without entries', { ...good, entries: undefined }],
  ['with an entry of another kind', { ...good, entries: [{ ...ADD, kind: 'rename' }] }],
  ['with a path for a file name', { ...good, entries: [{ ...ADD, filename: '../a-1-0.conda' }] }],
  ['with a revision that is no number', { ...good, entries: [{ ...ADD, revision: '1' }] }],
  ['with a negative revision', { ...good, entries: [{ ...REMOVE, revision: -1 }] }],
  ['with a digest that is none', { ...good, based_on: 'sha256:1' }],
  [
    'with a record without sha256',
    { ...good, entries: [{ ...ADD, record: { ...ADD.record, sha256: undefined } }] },
  ],
  ['with a record without a time', { ...good, entries: [{ ...ADD, record: { name: 'a' } }] }],
])('one that is %s stops the writer', async (_, content) => {
  const store = openStore();
  const { tag } = newOperation('noarch', [ADD], undefined, AT);
  const bytes = Buffer.from(typeof content === 'string' ? content : JSON.stringify(content));
  const layer = { mediaType: OPERATION, title: 'operation.json', bytes };
  await pushMetadata(store, 'noarch', 'ledger', [layer], { tags: [tag] });
  const error = await rejection(readOperation(store, 'noarch', tag));
  expect(isFerryError(error, 'OPERATION_INVALID')).toBe(true);
});

test('one without its layer stops the writer too', async () => {
  const store = openStore();
  const { tag } = newOperation('noarch', [ADD], undefined, AT);
  const layer = { mediaType: 'text/plain', title: 'operation.json', bytes: Buffer.from('{}') };
  await pushMetadata(store, 'noarch', 'ledger', [layer], { tags: [tag] });
  expect(isFerryError(await rejection(readOperation(store, 'noarch', tag)), 'OPERATION_INVALID')).toBe(true);
});

test('what a later version says besides is kept', async () => {
  const store = openStore();
  const logged = newOperation('noarch', [{ ...ADD, reason: 'x' }], undefined, AT);
  await logOperation(store, { ...logged, operation: { ...logged.operation, tool: 'y' } });
  expect(await readOperation(store, 'noarch', logged.tag)).toMatchObject({
    tool: 'y',
    entries: [{ reason: 'x', record: { other: [1] } }],
  });
});
