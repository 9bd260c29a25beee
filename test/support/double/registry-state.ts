import { createHash, randomBytes } from 'node:crypto';

/** A manifest as it was pushed. */
export interface DoubleManifest {
  readonly digest: string;
  readonly mediaType: string;
  readonly bytes: Buffer;
  readonly subject?: string;
  /** Its own, or its config's media type. */
  readonly artifactType?: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** An upload that is under way. */
export interface DoubleUpload {
  readonly id: string;
  readonly repository: string;
  readonly chunks: Buffer[];
  size: number;
  /** What the newest Location carries. */
  step: number;
  /** A chunk below the minimum came, which only the last may be. */
  hasShortChunk: boolean;
}

/** One repository. */
export interface DoubleRepository {
  readonly name: string;
  readonly blobs: Map<string, Buffer>;
  readonly manifests: Map<string, DoubleManifest>;
  /** Tag to digest, in the order of creation. */
  readonly tags: Map<string, string>;
}

/** What a registry holds. */
export interface RegistryState {
  readonly repositories: Map<string, DoubleRepository>;
  readonly uploads: Map<string, DoubleUpload>;
}

/** Nothing yet. */
export function newState(existing: readonly string[] = []): RegistryState {
  const state: RegistryState = { repositories: new Map(), uploads: new Map() };
  for (const name of existing) repositoryFor(state, name);
  return state;
}

/** The repository, made where it is not there. */
export function repositoryFor(state: RegistryState, name: string): DoubleRepository {
  const known = state.repositories.get(name);
  if (known !== undefined) return known;
  const made: DoubleRepository = { name, blobs: new Map(), manifests: new Map(), tags: new Map() };
  state.repositories.set(name, made);
  return made;
}

/** Starts an upload. */
export function newUpload(state: RegistryState, repository: string): DoubleUpload {
  const id = randomBytes(12).toString('hex');
  const upload = { id, repository, chunks: [], size: 0, step: 0, hasShortChunk: false };
  state.uploads.set(id, upload);
  return upload;
}

/** The manifest that a tag or a digest names. */
export function findManifest(
  repository: DoubleRepository | undefined,
  reference: string,
): DoubleManifest | undefined {
  return repository?.manifests.get(repository.tags.get(reference) ?? reference);
}

/** Removes a manifest with its tags. @returns whether it was there */
export function removeManifest(repository: DoubleRepository, digest: string): boolean {
  for (const [tag, target] of repository.tags) if (target === digest) repository.tags.delete(tag);
  return repository.manifests.delete(digest);
}

/** Digest such as `sha256:…`. */
export function digestOf(bytes: Uint8Array, algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** Whether it looks like a digest of an algorithm that is known here. */
export function isDigest(text: string): boolean {
  return /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(text);
}

/** Whether the bytes have the digest. */
export function hasDigest(bytes: Uint8Array, digest: string): boolean {
  return digestOf(bytes, digest.slice(0, digest.indexOf(':'))) === digest;
}
