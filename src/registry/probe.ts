/** Finds out what a registry can do, by doing it with a tiny artifact. */
import { FerryError, isFerryError } from '../errors.js';
import { parseChallenges } from '../http/challenge.js';
import { responseError } from '../http/response-error.js';
import type { HttpRequest, Send } from '../http/send.js';
import { openerOf } from '../io/bytes.js';
import { describe, type Descriptor } from '../oci/descriptor.js';
import { encodeJson } from '../oci/manifest.js';
import { IMAGE_INDEX, IMAGE_MANIFEST } from '../oci/media-types.js';
import type { CallOptions } from '../oci/storage.js';
import type { GithubPackages } from './github-packages.js';
import { profileOf, type HostProfile } from './host-profile.js';
import { ProbeSession, type Answer } from './probe-session.js';

/** What was found out about one power of a registry. */
export interface ProbeFinding {
  /** Such as `single-post`; see {@link PROBE_SUBJECTS}. */
  readonly subject: ProbeSubject;
  readonly result: 'yes' | 'no' | 'unknown';
  /** One line for people. */
  readonly detail: string;
}

/** Everything that is looked at, in the order of the report; at most 30 characters leave room for what was found. */
export const PROBE_SUBJECTS = {
  registry: 'answers as a registry',
  push: 'takes pushes',
  'creates-repositories': 'makes repositories by itself',
  depth: 'takes paths two levels deeper',
  names: 'takes names with . - and _',
  'media-types': 'keeps media types of conda',
  'single-post': 'takes a blob in one request',
  chunked: 'takes blobs in chunks',
  mount: 'mounts from other repositories',
  'anonymous-mount': 'finds blobs wherever they are',
  ranges: 'gives parts of blobs',
  'digest-header': 'tells digests of manifests',
  tags: 'lists tags',
  referrers: 'lists referrers itself',
  'delete-tag': 'deletes tags',
  'delete-manifest': 'deletes manifests',
  'delete-blob': 'deletes blobs',
  public: 'makes new packages public',
  linked: 'links new packages on GitHub',
} as const;

/** Such as `single-post`. */
export type ProbeSubject = keyof typeof PROBE_SUBJECTS;

/** What {@link probeRegistry} found. */
export interface ProbeReport {
  /** Such as `ghcr.io`. */
  readonly host: string;
  /** Repository that was pushed to; `undefined` where nothing was written. */
  readonly repository: string | undefined;
  readonly authentication: 'none' | 'basic' | 'bearer' | 'unknown';
  /** What was known beforehand. */
  readonly profile: HostProfile;
  readonly findings: readonly ProbeFinding[];
  /** References of what could not be deleted again, such as `ghcr.io/me/ch/noarch/probe:1`. */
  readonly leftBehind: readonly string[];
}

/** What {@link probeRegistry} is told. */
export interface ProbeOptions extends CallOptions {
  /** Such as `https://ghcr.io/`. */
  readonly baseUrl: URL;
  /** Sends with credentials. */
  readonly send: Send;
  /** Sends without. */
  readonly sendAnonymously: Send;
  /** Channel path to push under, such as `me/my-channel`. Without it nothing is written. */
  readonly prefix?: string | undefined;
  /** What is known of the registry. @defaultValue by its host */
  readonly profile?: HostProfile | undefined;
  /** For registries whose packages GitHub keeps: tells more of them, and deletes. */
  readonly githubPackages?: GithubPackages | undefined;
  /** Makes the pushed content one of a kind, such as a random text. */
  readonly nonce: string;
  /** Media types to try: of a config and of a layer. */
  readonly mediaTypes: { readonly config: string; readonly layer: string };
  /** Told what stays when the probe fails or is interrupted; of one that ends well the report says it. */
  readonly onLeftBehind?: ((reference: string) => void) | undefined;
}

/**
 * Asks what a registry can do. With a prefix it pushes a tiny artifact to `<prefix>/noarch/conda-ferry-probe`, as deep
 * as packages of a channel go, tries everything on it, and deletes it again where that is possible.
 * @throws FerryError `UNSUPPORTED` where there is no registry; what keeps the artifact from being pushed. What had been
 * pushed by then is deleted as well.
 */
export async function probeRegistry(options: ProbeOptions): Promise<ProbeReport> {
  const { baseUrl, prefix } = options;
  const profile = options.profile ?? profileOf(baseUrl.host);
  const findings: ProbeFinding[] = [];
  const note: Note = (subject, result, detail = '') => findings.push({ subject, result, detail });
  const authentication = await probePing(options, note);
  if (prefix === undefined) {
    return { host: baseUrl.host, repository: undefined, authentication, profile, findings, leftBehind: [] };
  }
  const session = new ProbeSession(options, `${prefix}/noarch/conda-ferry-probe`);
  try {
    const artifact = await probePush(session, options, note);
    await probeNames(session, note);
    const blob = await probeUploads(session, options, note);
    await probeReads(session, artifact, options, note);
    await probeReferrers(session, artifact, note);
    await probeLink(session, options, note);
    await probeDeletion(session, artifact, blob, note);
  } catch (error) {
    await session.cleanUp();
    for (const reference of session.leftBehind) options.onLeftBehind?.(reference);
    throw error;
  }
  await session.cleanUp();
  const order = Object.keys(PROBE_SUBJECTS);
  findings.sort((a, b) => order.indexOf(a.subject) - order.indexOf(b.subject));
  const { repository, leftBehind } = session;
  return { host: baseUrl.host, repository, authentication, profile, findings, leftBehind };
}

type Note = (subject: ProbeSubject, result: ProbeFinding['result'], detail?: string) => void;

interface ProbeArtifact {
  readonly layer: Descriptor;
  readonly manifest: Descriptor;
  readonly tag: string;
}

async function probePing(
  { baseUrl, sendAnonymously, signal }: ProbeOptions,
  note: Note,
): Promise<ProbeReport['authentication']> {
  // Marked as chosen by a server, it is not authorized at all: the challenge is what is wanted.
  const request: HttpRequest = {
    method: 'GET',
    url: new URL('v2/', baseUrl),
    givenBy: baseUrl,
    signal,
  };
  const response = await sendAnonymously(request);
  // That it is busy or broken says nothing of what it is.
  if (response.status === 429 || response.status >= 500) throw await responseError(request, response);
  await response.discard();
  const schemes = parseChallenges(response.header('www-authenticate') ?? '').map(({ scheme }) => scheme);
  if (response.status !== 200 && !(response.status === 401 && schemes.length > 0)) {
    throw new FerryError(
      'UNSUPPORTED',
      `there is no registry at \`${baseUrl.host}\`: /v2/ answered ${String(response.status)}`,
    );
  }
  note('registry', 'yes');
  if (response.status === 200) return 'none';
  if (schemes.includes('bearer')) return 'bearer';
  return schemes.includes('basic') ? 'basic' : 'unknown';
}

/** Everything else needs an artifact, so this may fail as a whole. */
async function probePush(
  session: ProbeSession,
  { nonce, mediaTypes, signal }: ProbeOptions,
  note: Note,
): Promise<ProbeArtifact> {
  const wasThere = (await session.get('tags/list')).status === 200;
  const layerBytes = Buffer.from(`conda-ferry probe ${nonce}\n`, 'utf8');
  const configBytes = Buffer.from('{}', 'utf8');
  const layer = describe(mediaTypes.layer, layerBytes);
  const config = describe(mediaTypes.config, configBytes);
  session.keepBlob(config);
  session.keepBlob(layer);
  await session.client.push(config, openerOf(configBytes), { signal });
  await session.client.push(layer, openerOf(layerBytes), { signal });
  const bytes = encodeJson({ schemaVersion: 2, mediaType: IMAGE_MANIFEST, config, layers: [layer] });
  const manifest = describe(IMAGE_MANIFEST, bytes);
  const tag = `probe-${nonce}`;
  session.keep(tag, manifest);
  await session.client.push(manifest, openerOf(bytes), { tags: [tag], signal });
  note('push', 'yes');
  note(
    'creates-repositories',
    wasThere ? 'unknown' : 'yes',
    wasThere ? 'the repository was there before' : '',
  );
  note('single-post', session.takesSinglePost);
  const stored = await session.client.fetchManifest(tag, { signal });
  const isSame = stored?.descriptor.digest === manifest.digest;
  note('media-types', isSame ? 'yes' : 'no', isSame ? '' : 'the manifest came back as another one');
  return { layer, manifest, tag };
}

async function probeNames(session: ProbeSession, note: Note): Promise<void> {
  note('depth', ...resultOf(await session.openUpload(`${session.repository}/a/b`)));
  note('names', ...resultOf(await session.openUpload(`${session.repository}.a_b__c-d`)));
}

/** @returns a blob that nothing refers to */
async function probeUploads(
  session: ProbeSession,
  { nonce, signal }: ProbeOptions,
  note: Note,
): Promise<Descriptor> {
  const chunks = ['conda-ferry ', `chunks ${nonce}`];
  note('chunked', ...resultOf(await session.uploadInChunks(chunks), 200, 201, 204));
  const blob = Buffer.from(`conda-ferry mount ${nonce}\n`, 'utf8');
  const descriptor = describe('application/octet-stream', blob);
  session.keepBlob(descriptor);
  await session.client.push(descriptor, openerOf(blob), { signal });
  const other = `${session.repository}-mount`;
  const mounted = await session.mount(other, descriptor, session.repository);
  note('mount', ...resultOf(mounted, 201));
  const found = await session.mount(`${other}2`, descriptor, undefined);
  note('anonymous-mount', ...resultOf(found, 201));
  return descriptor;
}

async function probeReads(
  session: ProbeSession,
  artifact: ProbeArtifact,
  { sendAnonymously, signal }: ProbeOptions,
  note: Note,
): Promise<void> {
  const ranged = await session.get(`blobs/${artifact.layer.digest}`, { range: 'bytes=1-' });
  note('ranges', ...resultOf(ranged, 206));
  const head = await session.head(`manifests/${artifact.tag}`, { accept: IMAGE_MANIFEST });
  const told = head.header('docker-content-digest');
  if (told === undefined) note('digest-header', 'no', 'it is left out');
  else if (told === artifact.manifest.digest) note('digest-header', 'yes');
  else note('digest-header', 'no', 'it is another one');
  const tags = new Set<string>();
  for await (const tag of session.client.tags({ signal })) tags.add(tag);
  note(
    'tags',
    tags.has(artifact.tag) ? 'yes' : 'no',
    tags.has(artifact.tag) ? '' : 'the new tag is not listed',
  );
  const anonymous = session.withSend(sendAnonymously);
  try {
    const seen = await anonymous.resolve(artifact.tag, { signal });
    note('public', seen === undefined ? 'no' : 'yes');
  } catch (error) {
    if (!isFerryError(error)) throw error;
    const isRefused = error.code === 'UNAUTHORIZED' || error.code === 'DENIED';
    if (isRefused) note('public', 'no', 'who reads it has to log in');
    else note('public', 'unknown', error.code);
  }
}

async function probeReferrers(session: ProbeSession, artifact: ProbeArtifact, note: Note): Promise<void> {
  const listed = await session.get(`referrers/${artifact.manifest.digest}`);
  const isApi =
    listed.status === 200 && (listed.header('content-type') ?? '').split(';')[0]?.trim() === IMAGE_INDEX;
  note('referrers', isApi ? 'yes' : 'no', isApi ? '' : 'they are listed under a tag instead');
}

async function probeLink(
  session: ProbeSession,
  { githubPackages, signal }: ProbeOptions,
  note: Note,
): Promise<void> {
  if (githubPackages === undefined) return;
  try {
    const found = await githubPackages.describe(session.repository, { signal });
    if (found === undefined) note('linked', 'unknown', 'GitHub shows this token no such package');
    else if (found.repository === undefined)
      note('linked', 'no', `${found.visibility}, and linked to no repository`);
    else note('linked', 'yes', `${found.visibility}, linked to ${found.repository}`);
  } catch (error) {
    if (!isFerryError(error)) throw error;
    note('linked', 'unknown', error.code);
  }
}

async function probeDeletion(
  session: ProbeSession,
  { manifest, tag }: ProbeArtifact,
  blob: Descriptor,
  note: Note,
): Promise<void> {
  const good = [200, 202, 204];
  const untagged = resultOf(await session.delete(`manifests/${tag}`), ...good);
  if (untagged[0] === 'yes' && !(await session.isThere(manifest.digest))) {
    note('delete-tag', 'no', 'the manifest goes with it');
    note('delete-manifest', 'unknown', 'it went with its tag');
  } else {
    note('delete-tag', ...untagged);
    note('delete-manifest', ...resultOf(await session.delete(`manifests/${manifest.digest}`), ...good));
  }
  note('delete-blob', ...resultOf(await session.delete(`blobs/${blob.digest}`), ...good));
}

function resultOf(answer: Answer, ...good: readonly number[]): ['yes' | 'no', string] {
  const expected = good.length === 0 ? [201, 202] : good;
  if (expected.includes(answer.status)) return ['yes', ''];
  return [
    'no',
    answer.code === undefined ? String(answer.status) : `${String(answer.status)} ${answer.code}`,
  ];
}
