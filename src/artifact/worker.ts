/**
 * The work that costs processor time, as tasks of a worker thread: take the info out of an archive, compress and
 * decompress repodata. What goes in and out is plain data, so that it crosses the thread's border.
 */
import type { ArchiveLocation } from '../conda/archive/archive-file.js';
import { readInfo } from '../conda/archive/read-info.js';
import type { ArchiveExtension } from '../conda/names.js';
import { isFerryError, type FerryErrorCode } from '../errors.js';
import { compressZstd, decompressZstd } from '../io/zstd.js';
import { writeInfoLayer } from './info-layer.js';
import { failureOf } from './small-task.js';

/** What packing takes out of an archive. */
export interface PackedInfo {
  /** `info/index.json`, byte for byte. */
  readonly indexJson: Uint8Array;
  /** The info layer's blob: `tar+gzip`. */
  readonly infoLayer: Uint8Array;
  /** Of a `.conda`: the `<name>-<version>-<build>` in the names of its two inner tarballs. */
  readonly innerStem: string | undefined;
}

/** The tasks with what they take and give, by name. */
export interface WorkerTasks {
  readonly pack: {
    readonly input: { readonly archive: ArchiveLocation; readonly extension: ArchiveExtension };
    readonly output: PackedInfo;
  };
  readonly compress: {
    readonly input: { readonly bytes: Uint8Array; readonly level: number };
    readonly output: Uint8Array;
  };
  readonly decompress: {
    readonly input: { readonly bytes: Uint8Array; readonly maxBytes: number; readonly what: string };
    readonly output: Uint8Array;
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
  { readonly output: WorkerTasks[WorkerTaskName]['output'] } | { readonly failure: TaskFailure };

/** What is left of an error. */
export interface TaskFailure {
  readonly code: FerryErrorCode;
  readonly message: string;
}

const tasks: {
  readonly [Name in WorkerTaskName]: (
    input: WorkerTasks[Name]['input'],
  ) => Promise<WorkerTasks[Name]['output']>;
} = {
  pack: async ({ archive, extension }) => {
    const info = await readInfo(archive, extension);
    return { indexJson: info.indexJson, infoLayer: writeInfoLayer(info.members), innerStem: info.stem };
  },
  compress: async ({ bytes, level }) => compressZstd(bytes, level),
  decompress: async ({ bytes, maxBytes, what }) => decompressZstd(bytes, maxBytes, what),
};

/** Runs one task; the worker pool calls it. */
export default async function runTask(message: WorkerMessage): Promise<WorkerAnswer> {
  try {
    const task = tasks[message.name] as (
      input: WorkerMessage['input'],
    ) => Promise<WorkerTasks[WorkerTaskName]['output']>;
    return { output: await task(message.input) };
  } catch (error) {
    if (!isFerryError(error)) throw error;
    return { failure: failureOf(error) };
  }
}

// Makes this a module that cannot be loaded by `require`, which the pool tries first: a thread that is ended in the middle of
// that takes the whole process along (Node 20 aborts in CreateRequiredModuleFacade). `import`, which it then takes, is safe.
await Promise.resolve();
