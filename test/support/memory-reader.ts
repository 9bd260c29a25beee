import { digestOf } from '#ferry/io/digest.js';
import type { MemoryRegistry } from '#ferry/oci/memory-store.js';
import type { Layer, StoreReader } from './audit.js';

/** Reads what a store in memory holds. */
export function memoryReader(store: MemoryRegistry): StoreReader {
  const bytesOf = async (repository: string, digest: string): Promise<Buffer | undefined> => {
    const stored = store.repository(repository);
    const descriptor = {
      mediaType: 'x/y',
      digest: digest as `sha256:${string}`,
      size: Number.MAX_SAFE_INTEGER,
    };
    const chunks: Uint8Array[] = [];
    try {
      for await (const chunk of stored.fetch(descriptor, {})) chunks.push(chunk);
    } catch (error) {
      if (chunks.length === 0 && error instanceof Error && !error.message.includes('bytes')) return undefined;
    }
    return Buffer.concat(chunks);
  };
  return {
    blob: bytesOf,
    manifest: async (repository, reference) => {
      const stored = await store.repository(repository).fetchManifest(reference);
      if (stored === undefined) return undefined;
      const manifest = JSON.parse(Buffer.from(stored.bytes).toString()) as { config: Layer; layers: Layer[] };
      return { digest: digestOf(stored.bytes), ...manifest };
    },
  };
}
