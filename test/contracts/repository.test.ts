import { TempFolder } from '#ferry/io/temp-folder.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { afterAll } from 'vitest';
import { describeRepositoryContract } from './repository.js';

const temporary: TempFolder[] = [];

afterAll(async () => {
  for (const folder of temporary) await folder[Symbol.asyncDispose]();
});

describeRepositoryContract('memory store', () =>
  Promise.resolve({ registry: new MemoryRegistry(), capabilities: { emptyBlob: true } }),
);

describeRepositoryContract('image layout', async () => {
  const folder = await TempFolder.create();
  temporary.push(folder);
  return { registry: openLayoutRegistry(folder.newPath()), capabilities: { emptyBlob: true } };
});
