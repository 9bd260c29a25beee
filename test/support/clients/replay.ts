import { decode } from '@msgpack/msgpack';
import { gunzipSync } from 'node:zlib';
import { decompressZstd } from '#ferry/io/zstd.js';
import { ask, type Reply } from '../ask.js';

const MAX_BYTES = 64 * 1024 * 1024;
const MAX_REDIRECTS = 5;

/** What a client remembers of a document it has. */
interface Held {
  readonly etag: string | undefined;
  readonly modified: string | undefined;
}

/** A client that asks as another one does, and keeps count. */
export class ReplayedClient {
  readonly #headers: Readonly<Record<string, string>>;
  readonly #caFile: string | undefined;
  /** Requests so far, as `GET /path 200`. */
  readonly lines: string[] = [];

  /** @param headers that every request has */
  constructor(headers: Readonly<Record<string, string>>, caFile?: string) {
    this.#headers = headers;
    this.#caFile = caFile;
  }

  /** Asks for what is at a URL, wherever that leads. */
  async request(method: 'GET' | 'HEAD', url: string, headers: Record<string, string> = {}): Promise<Reply> {
    let target = new URL(url);
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
      const reply = await ask(target, {
        method,
        headers: { ...this.#headers, ...headers },
        caFile: this.#caFile,
      });
      const path = decodeURIComponent(target.pathname);
      if (redirects === 0) this.lines.push(`${method} ${path} ${reply.status}`);
      const { location } = reply.headers;
      if (![301, 302, 303, 307, 308].includes(reply.status) || location === undefined) return reply;
      target = new URL(location, target);
    }
    throw new Error(`${url} leads in circles`);
  }
}

/** Gives the bytes of a body as the client sees them, after `Content-Encoding`. */
export async function decoded(reply: Reply): Promise<Uint8Array> {
  const encoding = reply.headers['content-encoding'];
  if (encoding === 'gzip') return gunzipSync(reply.body);
  if (encoding === 'zstd') return decompressZstd(reply.body, MAX_BYTES, 'the body');
  return reply.body;
}

/** Repodata as a client reads it: file name to sha256. */
export type Listing = Readonly<Record<string, string>>;

/** Reads repodata. */
export function listingOf(bytes: Uint8Array): Listing {
  const repodata = JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>;
  const sections = [repodata['packages'], repodata['packages.conda']] as Record<string, { sha256: string }>[];
  return Object.fromEntries(
    sections.flatMap((section) => Object.entries(section)).map(([name, { sha256 }]) => [name, sha256]),
  );
}

/**
 * conda's way to the repodata of a channel, as of its release 26.7 with the classic solver: notices; then for each subdir the small
 * repodata and the whole, each as zstd first where that is on, each only if it changed since.
 * @see conda, `gateways/repodata/`
 */
export class ReplayedConda {
  readonly client: ReplayedClient;
  readonly #channel: string;
  readonly #usesZstd: boolean;
  readonly #held = new Map<string, Held & { readonly listing: Listing }>();

  /** @param usesZstd `repodata_use_zst`, and whether its Python reads that encoding */
  constructor(channel: string, usesZstd: boolean) {
    this.#channel = channel;
    this.#usesZstd = usesZstd;
    // Releases before 23 say the latter.
    const encodings = usesZstd ? 'gzip, deflate, zstd' : 'gzip, deflate, compress, identity';
    this.client = new ReplayedClient({
      'user-agent': 'conda/26.7.0 requests/2.34.2',
      accept: '*/*',
      'accept-encoding': encodings,
    });
  }

  /** Whether there are notices. */
  async notices(): Promise<boolean> {
    return (await this.client.request('GET', `${this.#channel}/notices.json`)).status === 200;
  }

  /** What a subdir lists; `undefined` where the channel does not have it, which is an error for `noarch`. */
  async listing(subdir: string, files: readonly string[]): Promise<Listing | undefined> {
    for (const file of files) {
      for (const form of this.#usesZstd ? ['.zst', ''] : ['']) {
        const url = `${this.#channel}/${subdir}/${file}${form}`;
        const held = this.#held.get(url);
        const conditions = held === undefined ? {} : conditionsOf(held);
        const reply = await this.client.request('GET', url, conditions);
        if (reply.status === 304) return held?.listing;
        if (reply.status === 404) continue;
        if (reply.status !== 200) throw new Error(`conda ends at ${reply.status} for ${url}`);
        const bytes = await decoded(reply);
        const listing = listingOf(
          form === '.zst' ? await decompressZstd(bytes, MAX_BYTES, 'repodata.json.zst') : bytes,
        );
        const { etag, 'last-modified': modified } = reply.headers;
        this.#held.set(url, { etag, modified, listing });
        return listing;
      }
    }
    return undefined;
  }
}

function conditionsOf({ etag, modified }: Held): Record<string, string> {
  return {
    ...(etag === undefined ? {} : { 'if-none-match': etag }),
    ...(modified === undefined ? {} : { 'if-modified-since': modified }),
  };
}

/**
 * mamba's way to the repodata of a channel, as of its release 2.8: it asks for the heads of zstd and of the shards' index, and then
 * takes the best of what is there. The validators it has of the repodata go along with whatever it asks for next.
 * @see mamba, `libmamba/src/core/subdir_index.cpp`, `shard_index_loader.cpp`
 */
export class ReplayedMamba {
  readonly client = new ReplayedClient({ 'user-agent': 'mamba/2.8.1 libcurl/8.14.1', accept: '*/*' });
  readonly #channel: string;
  /** Of the last repodata that it took. */
  #held: Held | undefined;

  constructor(channel: string) {
    this.#channel = channel;
  }

  /** Probes for the forms that a subdir has. */
  async probe(subdir: string): Promise<{ readonly zstd: boolean; readonly shards: boolean }> {
    const [zstd, shards] = [
      await this.client.request('HEAD', `${this.#channel}/${subdir}/repodata.json.zst`),
      await this.client.request('HEAD', `${this.#channel}/${subdir}/repodata_shards.msgpack.zst`),
    ];
    return { zstd: zstd.status === 200, shards: shards.status >= 200 && shards.status < 300 };
  }

  /** Takes the repodata; `'unchanged'` where it has it. */
  async repodata(subdir: string, form: 'zstd' | 'plain'): Promise<Listing | 'unchanged'> {
    const url = `${this.#channel}/${subdir}/repodata.json${form === 'zstd' ? '.zst' : ''}`;
    const conditions = this.#held === undefined ? {} : conditionsOf(this.#held);
    const plain = { 'accept-encoding': 'deflate, gzip, br, zstd', 'content-type': 'application/json' };
    const reply = await this.client.request('GET', url, {
      ...conditions,
      ...(form === 'plain' ? plain : {}),
    });
    if (reply.status === 304) return 'unchanged';
    if (reply.status !== 200) throw new Error(`mamba ends at ${reply.status} for ${url}`);
    this.#held = { etag: reply.headers.etag, modified: reply.headers['last-modified'] };
    const bytes = await decoded(reply);
    return listingOf(form === 'zstd' ? await decompressZstd(bytes, MAX_BYTES, url) : bytes);
  }

  /** Takes the shards of names, and gives what they list. */
  async shards(subdir: string, names: readonly string[]): Promise<Listing> {
    const base = `${this.#channel}/${subdir}/`;
    const conditions = this.#held === undefined ? {} : conditionsOf(this.#held);
    const reply = await this.client.request('GET', `${base}repodata_shards.msgpack.zst`, conditions);
    if (reply.status !== 200) throw new Error(`mamba has no index to go with ${reply.status}`);
    const index = (await unpacked(reply.body)) as {
      readonly info: { readonly shards_base_url: string; readonly base_url: string; readonly subdir: string };
      readonly shards: Readonly<Record<string, Uint8Array>>;
    };
    if (index.info.subdir !== subdir) throw new Error(`the index is of ${index.info.subdir}`);
    const listing: Record<string, string> = {};
    for (const name of names) {
      const hex = Buffer.from(index.shards[name] ?? []).toString('hex');
      const url = new URL(`${hex}.msgpack.zst`, new URL(index.info.shards_base_url, base));
      const shard = await this.client.request('GET', url.href);
      if (shard.status !== 200) throw new Error(`mamba ends at ${shard.status} for ${url.href}`);
      const sections = (await unpacked(shard.body)) as Record<string, Record<string, { sha256: Uint8Array }>>;
      for (const section of ['packages', 'packages.conda'])
        for (const [filename, { sha256 }] of Object.entries(sections[section]!))
          listing[filename] = Buffer.from(sha256).toString('hex');
    }
    return listing;
  }
}

async function unpacked(bytes: Uint8Array): Promise<unknown> {
  return decode(await decompressZstd(bytes, MAX_BYTES, 'the shards'));
}

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const REPODATA_TYPE = 'application/vnd.conda.repodata.v1+json';

/**
 * mamba's way to a channel by `oci://`: a token for each repository, from a place that it does not ask for; repodata by `latest`,
 * as zstd where that is there, and archives by the digest that the repodata says.
 * @see mamba, `libmamba/src/download/mirror_impl.cpp`
 */
export class ReplayedOciMamba {
  readonly client: ReplayedClient;
  readonly #origin: string;
  readonly #channel: string;

  /** @param origin such as `https://localhost:34567`, and the channel's path below it */
  constructor(origin: string, channel: string, caFile?: string) {
    this.client = new ReplayedClient({ 'user-agent': 'mamba/2.8.1 libcurl/8.14.1', accept: '*/*' }, caFile);
    this.#origin = origin;
    this.#channel = channel;
  }

  /** Whether there is a file of metadata, such as the shards' index, in a repository of its name. */
  async has(subdir: string, file: string): Promise<boolean> {
    const { repository, authorization } = await this.#enter(subdir, file);
    const reply = await this.#latest(repository, authorization);
    return reply.status === 200;
  }

  /** What a subdir lists. */
  async listing(subdir: string): Promise<Listing> {
    const { repository, authorization } = await this.#enter(subdir, 'repodata.json');
    const manifest = await this.#latest(repository, authorization);
    if (manifest.status !== 200) throw new Error(`mamba ends at ${manifest.status} for ${repository}`);
    const { layers } = JSON.parse(manifest.body.toString()) as {
      readonly layers: readonly { readonly mediaType: string; readonly digest: string }[];
    };
    const isZstd = layers.some(({ mediaType }) => mediaType === `${REPODATA_TYPE}+zst`);
    const wanted = isZstd ? `${REPODATA_TYPE}+zst` : REPODATA_TYPE;
    const digest = layers.find(({ mediaType }) => mediaType === wanted)?.digest ?? '';
    const blob = await this.#blob(repository, digest, authorization);
    return listingOf(isZstd ? await decompressZstd(blob, MAX_BYTES, repository) : blob);
  }

  /** The bytes of an archive. */
  async archive(subdir: string, filename: string, sha256: string): Promise<Uint8Array> {
    const name = filename.split('-').slice(0, -2).join('-');
    const { repository, authorization } = await this.#enter(
      subdir,
      name.startsWith('_') ? `zzz${name}` : name,
    );
    return this.#blob(repository, `sha256:${sha256}`, authorization);
  }

  async #enter(subdir: string, leaf: string) {
    const repository = `${this.#channel}/${subdir}/${leaf}`;
    const reply = await this.client.request(
      'GET',
      `${this.#origin}/token?scope=repository:${repository}:pull`,
    );
    const token = reply.status === 200 ? (JSON.parse(reply.body.toString()) as { token?: string }).token : '';
    if (token === undefined || token === '') throw new Error('mamba insists on a token');
    return { repository, authorization: { authorization: `Bearer ${token}` } };
  }

  async #latest(repository: string, authorization: Record<string, string>): Promise<Reply> {
    const headers = { ...authorization, accept: MANIFEST_TYPE };
    return this.client.request('GET', `${this.#origin}/v2/${repository}/manifests/latest`, headers);
  }

  async #blob(
    repository: string,
    digest: string,
    authorization: Record<string, string>,
  ): Promise<Uint8Array> {
    const reply = await this.client.request(
      'GET',
      `${this.#origin}/v2/${repository}/blobs/${digest}`,
      authorization,
    );
    if (reply.status !== 200) throw new Error(`mamba ends at ${reply.status} for ${digest}`);
    return reply.body;
  }
}
