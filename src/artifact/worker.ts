/**
 * The work that costs processor time, as tasks of a worker thread: take the info out of an archive, unpack one, compress and
 * decompress repodata. What goes in and out is plain data, so that it crosses the thread's border.
 */
import type { Hash } from 'node:crypto';
import type { MessagePort } from 'node:worker_threads';
import type { ArchiveLocation } from '../conda/archive/archive-file.js';
import type { ArchiveExtension } from '../conda/names.js';
import { isFerryError } from '../errors.js';
import { createDigestHash, type Digest } from '../io/digest.js';
import { receiveBytes, sendBytes, sentFailure, type SentFailure } from '../io/port-bytes.js';
import {
  compressZstdStream,
  decompressZstdStream,
  type CompressOptions,
  type DecompressOptions,
} from '../io/zstd-stream.js';
import { compressZstd, decompressZstd } from '../io/zstd.js';

/** What packing takes out of an archive. */
export interface PackedInfo {
  /** `info/index.json`, byte for byte. */
  readonly indexJson: Uint8Array;
  /** The info layer's blob: `tar+gzip`. */
  readonly infoLayer: Uint8Array;
  /** Of a `.conda`: the `<name>-<version>-<build>` in the names of its two inner tarballs. */
  readonly innerStem: string | undefined;
}

/** Bytes that pass through a worker: it reads from one port and writes to the other. */
export interface StreamPorts {
  readonly from: MessagePort;
  readonly to: MessagePort;
}

/** The tasks with what they take and give, by name. */
export interface WorkerTasks {
  readonly pack: {
    readonly input: { readonly archive: ArchiveLocation; readonly extension: ArchiveExtension };
    readonly output: PackedInfo;
  };
  /** Unpacks a package into an empty folder, and gives its `info/index.json`. */
  readonly extract: {
    readonly input: {
      readonly archive: ArchiveLocation;
      readonly extension: ArchiveExtension;
      readonly folder: string;
    };
    readonly output: Uint8Array;
  };
  readonly compress: {
    readonly input: { readonly bytes: Uint8Array; readonly level: number };
    readonly output: Uint8Array;
  };
  readonly decompress: {
    readonly input: { readonly bytes: Uint8Array; readonly maxBytes: number; readonly what: string };
    readonly output: Uint8Array;
  };
  readonly compressStream: { readonly input: StreamPorts & CompressOptions; readonly output: undefined };
  readonly decompressStream: {
    /** `offset`: bytes of the result that are left out. `isHashed`: whether its digest is wanted, those bytes included. */
    readonly input: StreamPorts & DecompressOptions & { readonly offset: number; readonly isHashed: boolean };
    readonly output: Digest | undefined;
  };
}

/** Name of a task. */
export type WorkerTaskName = keyof WorkerTasks;

/** A task as it crosses to the worker. */
export interface WorkerMessage<Name extends WorkerTaskName = WorkerTaskName> {
  readonly name: Name;
  readonly input: WorkerTasks[Name]['input'];
}

/** What comes back; errors lose their class on the way, so they travel as data. */
export type WorkerAnswer =
  { readonly output: WorkerTasks[WorkerTaskName]['output'] } | { readonly failure: SentFailure };

const tasks: {
  readonly [Name in WorkerTaskName]: (
    input: WorkerTasks[Name]['input'],
  ) => Promise<WorkerTasks[Name]['output']>;
} = {
  // Loaded when the first archive comes: a thread for streams, which somebody waits for, is there in half the time.
  pack: async ({ archive, extension }) => {
    const [{ readInfo }, { writeInfoLayer }] = await Promise.all([
      import('../conda/archive/read-info.js'),
      import('./info-layer.js'),
    ]);
    const info = await readInfo(archive, extension);
    return { indexJson: info.indexJson, infoLayer: writeInfoLayer(info.members), innerStem: info.stem };
  },
  extract: async ({ archive, extension, folder }) => {
    const { extractPackage } = await import('../conda/archive/extract.js');
    return extractPackage(archive, extension, folder);
  },
  compress: async ({ bytes, level }) => compressZstd(bytes, level),
  decompress: async ({ bytes, maxBytes, what }) => decompressZstd(bytes, maxBytes, what),
  // A failure goes to whoever receives the bytes.
  compressStream: async ({ from, to, ...options }) => {
    await sendBytes(compressZstdStream(receiveBytes(from), options), to, true);
    return undefined;
  },
  decompressStream: async ({ from, to, offset, isHashed, ...options }) => {
    const hash = isHashed ? createDigestHash() : undefined;
    const plain = decompressZstdStream(receiveBytes(from), options);
    await sendBytes(skipBytes(plain, offset, hash), to, true);
    return hash === undefined ? undefined : `sha256:${hash.digest('hex')}`;
  },
};

async function* skipBytes(
  source: AsyncIterable<Uint8Array>,
  count: number,
  hash: Hash | undefined,
): AsyncGenerator<Uint8Array, void> {
  let left = count;
  for await (const piece of source) {
    hash?.update(piece);
    const skipped = Math.min(left, piece.byteLength);
    left -= skipped;
    if (skipped < piece.byteLength) yield skipped === 0 ? piece : piece.subarray(skipped);
  }
}

/** Runs one task; the worker pool calls it. */
export default async function runTask(message: WorkerMessage): Promise<WorkerAnswer> {
  try {
    const task = tasks[message.name] as (
      input: WorkerMessage['input'],
    ) => Promise<WorkerTasks[WorkerTaskName]['output']>;
    return { output: await task(message.input) };
  } catch (error) {
    if (!isFerryError(error)) throw error;
    return { failure: sentFailure(error) };
  }
}

// Makes this a module that cannot be loaded by `require`, which the pool tries first: a thread that is ended in the middle of
// that takes the whole process along (Node 20 aborts in CreateRequiredModuleFacade). `import`, which it then takes, is safe.
await Promise.resolve();
