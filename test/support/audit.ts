import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { ask, type Question, type Reply } from './ask.js';

/**
 * Looks at what is stored from the outside, with nothing of ours in between: plain HTTP requests, plain files, and a
 * second writing of the few rules that lead from a record to its artifact.
 */
export interface StoreReader {
  manifest(repository: string, reference: string): Promise<Manifest | undefined>;
  blob(repository: string, digest: string): Promise<Buffer | undefined>;
}

export interface Layer {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Manifest {
  readonly digest: string;
  readonly mediaType?: string;
  readonly artifactType?: string;
  readonly config: Layer;
  readonly layers: readonly Layer[];
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ListedRecord {
  readonly filename: string;
  readonly name: string;
  readonly version: string;
  readonly build: string;
  readonly sha256: string;
  readonly size: number;
}

/** The schema that a channel is read by. */
export type AuditedSchema = 'v0' | 'v1';

/** @see v0/D7, v1/R1 */
const REPODATA_REPOSITORIES = { v0: 'repodata.json', v1: 'mrepodata.json' } as const;

const ACCEPT = 'application/vnd.oci.image.manifest.v1+json';
// Registries on disk are unreadable for moments while others write to them; absence is believed the second time.
const READS = 3;

/** How to get into a registry that does not let everybody in over plain HTTP. */
export type RegistryAccess = Pick<Question, 'caFile' | 'headers'>;

/** Reads a registry over HTTP, or over TLS where `access` names a certificate to trust. */
export function registryReader(host: string, access: RegistryAccess = {}): StoreReader {
  const scheme = access.caFile === undefined ? 'http' : 'https';
  const question = { ...access, headers: { ...access.headers, accept: ACCEPT } };
  const get = async (path: string): Promise<Buffer | undefined> => {
    for (let read = 1; ; read += 1) {
      const { status, body } = await askAnonymously(`${scheme}://${host}/v2/${path}`, question);
      if (status === 200) return body;
      if (status !== 404) throw new Error(`${path} answered ${status}`);
      if (read === READS) return undefined;
    }
  };
  return {
    manifest: async (repository, reference) =>
      parseManifest(await get(`${repository}/manifests/${reference}`)),
    blob: async (repository, digest) => get(`${repository}/blobs/${digest}`),
  };
}

/** Fetches the token that the registry points to, where it wants one of everybody. */
async function askAnonymously(url: string, question: Question): Promise<Reply> {
  const reply = await ask(url, question);
  const challenge = reply.headers['www-authenticate'] ?? '';
  if (reply.status !== 401 || !/^Bearer /.test(challenge)) return reply;
  const valueOf = (key: string): string => new RegExp(`${key}="([^"]*)"`).exec(challenge)?.[1] ?? '';
  const parameters = new URLSearchParams({ service: valueOf('service'), scope: valueOf('scope') });
  const { body } = await ask(`${valueOf('realm')}?${parameters.toString()}`);
  const { token } = JSON.parse(body.toString('utf8')) as { token: string };
  return ask(url, { ...question, headers: { ...question.headers, authorization: `Bearer ${token}` } });
}

/** Reads image layouts from disk. */
export function layoutReader(root: string): StoreReader {
  const blob = async (repository: string, digest: string): Promise<Buffer | undefined> =>
    readFile(join(root, repository, 'blobs', digest.replace(':', '/'))).catch(() => undefined);
  return {
    blob,
    manifest: async (repository, reference) => {
      const file = await readFile(join(root, repository, 'index.json'), 'utf8').catch(() => undefined);
      if (file === undefined) return undefined;
      const index = JSON.parse(file) as { manifests: Layer[] };
      const found = index.manifests.find(
        (entry) =>
          entry.annotations?.['org.opencontainers.image.ref.name'] === reference ||
          entry.digest === reference,
      );
      return found === undefined ? undefined : parseManifest(await blob(repository, found.digest));
    },
  };
}

/** Parses an image manifest and takes its digest. */
export function parseManifest(bytes: Buffer | undefined): Manifest | undefined {
  if (bytes === undefined) return undefined;
  return { digest: sha256(bytes), ...(JSON.parse(bytes.toString('utf8')) as Omit<Manifest, 'digest'>) };
}

/** Records that a subdir's published repodata lists; `undefined` where nothing is published. */
export async function listedRecords(
  reader: StoreReader,
  channel: string,
  schema: AuditedSchema = 'v0',
): Promise<ListedRecord[] | undefined> {
  const bytes = await publishedRepodata(reader, channel, schema);
  if (bytes === undefined) return undefined;
  const repodata = JSON.parse(bytes.toString('utf8')) as Record<
    string,
    Record<string, Omit<ListedRecord, 'filename'>>
  >;
  return ['packages', 'packages.conda'].flatMap((section) =>
    Object.entries(repodata[section] ?? {}).map(([filename, record]) => ({ filename, ...record })),
  );
}

/** The published repodata's plain bytes. */
export async function publishedRepodata(
  reader: StoreReader,
  channel: string,
  schema: AuditedSchema = 'v0',
): Promise<Buffer | undefined> {
  const repository = `${channel}/${REPODATA_REPOSITORIES[schema]}`;
  const manifest = await reader.manifest(repository, 'latest');
  const layer = manifest?.layers.find(
    ({ mediaType }) => mediaType === 'application/vnd.conda.repodata.v1+json',
  );
  return layer === undefined ? undefined : reader.blob(repository, layer.digest);
}

/** Where a schema keeps a record. */
export function placeOf(
  channel: string,
  record: Pick<ListedRecord, 'name' | 'version' | 'build'>,
  schema: AuditedSchema = 'v0',
) {
  const { leaf, tag } = schema === 'v0' ? placeInV0(record) : placeInV1(record);
  return { repository: `${channel}/${leaf}`, tag };
}

function placeInV0(record: Pick<ListedRecord, 'name' | 'version' | 'build'>) {
  const leaf = record.name.startsWith('_') ? `zzz${record.name}` : record.name;
  const tag = `${record.version}-${record.build}`.replaceAll('+', '__p__').replaceAll('!', '__e__');
  return { leaf, tag };
}

/** @see v1/N2, v1/N3, v1/T1, v1/T3, v1/T4, v1/T5 */
function placeInV1(record: Pick<ListedRecord, 'name' | 'version' | 'build'>) {
  const escape = (part: string): string =>
    part.replaceAll('_', '__').replaceAll('+', '_P').replaceAll('!', '_N');
  const hash = (text: string): string => `h${sha256(Buffer.from(text)).slice('sha256:'.length)}`;
  const leaf = `c${record.name}`;
  const tag = `${escape(record.version)}-${escape(record.build)}`;
  return leaf.length > 64 || tag.length > 128 ? { leaf: hash(leaf), tag: hash(tag) } : { leaf, tag };
}

/**
 * Finds what is wrong with a published subdir: records that do not resolve by digest and by tag → manifest → layer, and
 * in v1 artifacts that are not what the schema asks for.
 * @param channel path of the channel with the subdir, such as `main/demo/noarch`
 * @returns one line for each fault; none means that listed is there
 */
export async function faultsOf(
  reader: StoreReader,
  channel: string,
  options: { readonly readBlobs?: boolean; readonly schema?: AuditedSchema } = {},
): Promise<string[]> {
  const faults: string[] = [];
  const { schema = 'v0' } = options;
  for (const record of (await listedRecords(reader, channel, schema)) ?? []) {
    const { repository, tag } = placeOf(channel, record, schema);
    const manifest = await reader.manifest(repository, tag);
    const layer = manifest?.layers.find(({ digest }) => digest === `sha256:${record.sha256}`);
    if (manifest === undefined || layer === undefined) {
      faults.push(`${record.filename}: not in the artifact at ${repository}:${tag}`);
      continue;
    }
    if (schema === 'v1' && !isDraftArtifact(manifest, record)) {
      faults.push(`${record.filename}: not as the draft asks for: ${JSON.stringify(manifest)}`);
    }
    if (options.readBlobs === false) continue;
    const blob = await reader.blob(repository, layer.digest);
    if (blob === undefined) faults.push(`${record.filename}: no blob`);
    else if (sha256(blob) !== layer.digest || blob.byteLength !== record.size)
      faults.push(`${record.filename}: wrong bytes`);
  }
  return faults;
}

/** @see v1/P1, v1/P3, v1/P4, v1/P5, v1/A1, v1/A2, v1/A5, v1/B23 */
function isDraftArtifact(manifest: Manifest, record: ListedRecord): boolean {
  const { annotations = {}, layers } = manifest;
  const types = layers.map(({ mediaType }) => mediaType.replace('application/vnd.conda.', ''));
  const conda = Object.entries(annotations).filter(([key]) => key.startsWith('org.conda.'));
  const onLayers = layers.flatMap((layer) => Object.keys(layer.annotations ?? {}));
  const wanted = {
    'org.conda.oci.schema': '1',
    'org.conda.package.name': record.name,
    'org.conda.package.version': record.version,
    'org.conda.package.build': record.build,
  };
  const packageType = record.filename.endsWith('.conda') ? 'package.v2' : 'package.v1';
  return (
    types.join() === `${packageType},info.v1.tar+gzip,info.index.v1+json` &&
    JSON.stringify(Object.fromEntries(conda)) === JSON.stringify(wanted) &&
    !onLayers.some((key) => key.startsWith('org.conda.'))
  );
}

/** Members of an info layer: path to content, or to the target of a link. */
export async function infoMembers(layer: Buffer): Promise<Map<string, string>> {
  const members = new Map<string, string>();
  const stream = extract();
  stream.end(gunzipSync(layer));
  for await (const entry of stream) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry) chunks.push(chunk as Uint8Array);
    const { name, type, linkname } = entry.header;
    members.set(name, type === 'symlink' ? `-> ${linkname}` : sha256(Buffer.concat(chunks)));
  }
  return members;
}

/** `sha256:…` of bytes. */
export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
