import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeServerCertificate } from './certificates.js';
import { IN_MEMORY, registryFolder, startDistribution, type DistributionSetUp } from './distribution.js';
import type { StartedRegistry } from './server-process.js';
import type { TokenServer } from './token-server.js';

/**
 * Debian's docker-registry 2.8 in every set-up that the tests need. Each is a process of its own on a free port of
 * 127.0.0.1, and goes away with its data when disposed of.
 */

const PROGRAM = 'docker-registry';

/** Who the registries with a htpasswd file let in. */
export const TEST_USER = { username: 'test-user', password: 'test-password' } as const;
const TEST_HTPASSWD = `${TEST_USER.username}:$2b$04$A..oc1rRQkzuCSWhF0cGfOjNlY2UrLRr2TWQNjWK9XX5SPI0nchPW\n`;

/** A registry whose files others may read. */
export interface DiskRegistry extends StartedRegistry {
  readonly rootFolder: string;
}

/** Options of {@link startDiskRegistry}. */
export interface DiskRegistryOptions {
  /** Answer with `Location: /v2/…` instead of whole URLs. @defaultValue false */
  readonly relativeUrls?: boolean;
  /** Remember in memory which blobs there are, as Debian's configuration has it. @defaultValue true */
  readonly blobCache?: boolean;
  /** htpasswd file of the caller's. */
  readonly htpasswd?: string;
}

/** A: everything in memory. */
export async function startMemoryRegistry(
  options: Pick<DiskRegistryOptions, 'relativeUrls' | 'htpasswd'> = {},
): Promise<StartedRegistry> {
  return start({ storage: IN_MEMORY, ...sectionsOf(options) });
}

/** B: everything on disk, as in production. */
export async function startDiskRegistry(options: DiskRegistryOptions = {}): Promise<DiskRegistry> {
  const folder = await registryFolder();
  const rootFolder = join(folder, 'data');
  const cache = options.blobCache === false ? {} : { cache: { blobdescriptor: 'inmemory' } };
  const storage = { filesystem: { rootdirectory: rootFolder, maxthreads: 100 }, ...cache };
  const registry = await startDistribution(PROGRAM, folder, { storage, ...sectionsOf(options) });
  return { ...registry, rootFolder };
}

/** B on a folder of the caller's, which outlives it: stopped and started again, it has what it had. */
export async function startRegistryOn(rootFolder: string): Promise<StartedRegistry> {
  return start({ storage: { filesystem: { rootdirectory: rootFolder, maxthreads: 100 } } });
}

/** Deletes what no tag leads to: manifests without tags, and blobs of no manifest. No registry may be at work there. */
export async function collectGarbage(rootFolder: string): Promise<void> {
  const folder = await registryFolder();
  try {
    const config = join(folder, 'config.yml');
    const storage = { filesystem: { rootdirectory: rootFolder }, delete: { enabled: true } };
    await writeFile(config, JSON.stringify({ version: '0.1', log: { level: 'error' }, storage }));
    await promisify(execFile)(PROGRAM, ['garbage-collect', '--delete-untagged', config], {
      maxBuffer: 64 * 1024 * 1024,
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** C: what another registry has on disk, to be read only: writing answers 405 `UNSUPPORTED`. */
export async function startReadOnlyView({
  rootFolder,
}: Pick<DiskRegistry, 'rootFolder'>): Promise<StartedRegistry> {
  return start({
    storage: {
      filesystem: { rootdirectory: rootFolder },
      maintenance: { uploadpurging: { enabled: false }, readonly: { enabled: true } },
    },
  });
}

/** D: TLS by an authority of our own, and {@link TEST_USER} alone is let in. Speaks HTTP/2 too. */
export async function startTlsRegistry(): Promise<StartedRegistry & { readonly caFile: string }> {
  const { folder, auth } = await folderWithPassword();
  const { certificateFile, keyFile, caFile } = await makeServerCertificate(folder);
  const tls = { certificate: certificateFile, key: keyFile, minimumtls: 'tls1.2' };
  const setUp = { storage: IN_MEMORY, http: { tls }, auth, caFile };
  return { ...(await startDistribution(PROGRAM, folder, setUp)), caFile };
}

/** D without TLS: {@link TEST_USER} alone is let in. */
export async function startPasswordRegistry(): Promise<StartedRegistry> {
  const { folder, auth } = await folderWithPassword();
  return startDistribution(PROGRAM, folder, { storage: IN_MEMORY, auth });
}

/** E: asks for tokens of a token server, which decides who may do what. */
export async function startTokenRegistry(tokens: TokenServer): Promise<StartedRegistry> {
  const { url, service, issuer, certificateFile } = tokens;
  const auth = { token: { realm: url, service, issuer, rootcertbundle: certificateFile } };
  return start({ storage: IN_MEMORY, auth });
}

/** F: hands on what another registry holds, and keeps a copy; takes no pushes. */
export async function startPullThrough(upstream: Pick<StartedRegistry, 'origin'>): Promise<StartedRegistry> {
  return start({ storage: IN_MEMORY, proxy: { remoteurl: upstream.origin } });
}

async function start(setUp: DistributionSetUp): Promise<StartedRegistry> {
  return startDistribution(PROGRAM, await registryFolder(), setUp);
}

async function folderWithPassword(): Promise<{ folder: string; auth: ReturnType<typeof basicAuth> }> {
  const folder = await registryFolder();
  const htpasswd = join(folder, 'htpasswd');
  await writeFile(htpasswd, TEST_HTPASSWD);
  return { folder, auth: basicAuth(htpasswd) };
}

function sectionsOf({ relativeUrls, htpasswd }: DiskRegistryOptions): Omit<DistributionSetUp, 'storage'> {
  return {
    ...(relativeUrls === true ? { http: { relativeurls: true } } : {}),
    ...(htpasswd === undefined ? {} : { auth: basicAuth(htpasswd) }),
  };
}

function basicAuth(path: string): Readonly<Record<string, unknown>> {
  return { htpasswd: { realm: 'test', path } };
}
