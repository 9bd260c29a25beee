import { OciChannel } from '../../artifact/oci-channel.js';
import type { ChannelStore } from '../../artifact/channel-store.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import { isSubdir, KNOWN_SUBDIRS } from '../../conda/names.js';
import { FerryError, isFerryError } from '../../errors.js';
import { openerOf, type Bytes } from '../../io/bytes.js';
import { HeldFile, streamContent } from '../held-file.js';
import { DocumentForms, type FormTools } from './document-forms.js';
import { Refreshed, type RefreshTimes } from './refreshed.js';
import type { Encoding, Generation, ServedChannel, ServedDocument, ShardSet } from './served-channel.js';
import { SubdirGeneration, type MakeShards } from './subdir-generation.js';
import { checkJson, takeDocument, takeRepodata, type TakenFrom } from './take-repodata.js';

/** Subdirs and other files that are remembered of one channel; who asks for more makes up names. */
const MAX_REMEMBERED = 400;
const MAX_CHECKED_JSON_BYTES = 16 * 1024 * 1024;
/** Index of shards that clients may still have from before. @see CEP 16: about a week */
const KEPT_SHARD_SETS = 4;

/** Files of a channel besides the repodata. */
export const COMPANION_FILES: ReadonlySet<string> = new Set([
  'current_repodata.json',
  'repodata_from_packages.json',
  'run_exports.json',
  'patch_instructions.json',
]);
/** Files beside the subdirs. @see CEP 6, CEP 38 */
export const CHANNEL_FILES: ReadonlySet<string> = new Set(['channeldata.json', 'notices.json']);

/** Where a web server is looked at that has no `noarch`; a channel has one of these. */
const LIKELY_SUBDIRS = KNOWN_SUBDIRS.slice(1, 8).concat('osx-64', 'osx-arm64', 'win-64');

/** What a {@link GatewayChannel} works with. */
export interface GatewayChannelOptions extends FormTools {
  readonly name: string;
  readonly label: string | undefined;
  readonly source: ChannelSource;
  readonly times: RefreshTimes;
  readonly makeShards: MakeShards;
  readonly now: () => number;
  /** Told of what failed while something older is served. */
  readonly onStale?: ((path: string, error: unknown) => void) | undefined;
}

/** Nothing is there; known as such for as long as anything is. */
const ABSENT = 'absent' as const;

/** A channel as the gateway has it: each of its files is asked for anew once in a while, and kept until then. */
export class GatewayChannel implements ServedChannel {
  readonly name: string;
  readonly label: string | undefined;
  readonly location: string;
  readonly source: ChannelSource;
  readonly #options: GatewayChannelOptions;
  readonly #repodata = new Map<string, Refreshed<SubdirGeneration | typeof ABSENT>>();
  readonly #companions = new Map<string, Refreshed<CompanionDocument | typeof ABSENT>>();
  readonly #subdirs: Refreshed<readonly string[]>;
  /** Shards of what was served before, newest first. */
  readonly #formerShards = new Map<string, SubdirGeneration[]>();
  #isClosed = false;

  constructor(options: GatewayChannelOptions) {
    this.name = options.name;
    this.label = options.label;
    this.location = options.source.url;
    this.source = options.source;
    this.#options = options;
    this.#subdirs = new Refreshed<readonly string[]>({
      ...options.times,
      now: options.now,
      load: (_, signal) => this.#findSubdirs(signal),
    });
  }

  /** Where its artifacts are, if it is in a store. */
  get store(): ChannelStore | undefined {
    return this.source instanceof OciChannel ? this.source.store : undefined;
  }

  /** Whether it was closed: what is asked of it then fails, and is to be asked of a new one. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  async subdirs(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<readonly string[]> {
    return (await this.#subdirs.get(options.signal)).value;
  }

  async generation(
    subdir: string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Generation | undefined> {
    if (!isSubdir(subdir)) return undefined;
    this.#checkOpen();
    const path = `${subdir}/repodata.json`;
    const refreshed = remember(this.#repodata, subdir, () => this.#refresh(path, this.#loadRepodata(subdir)));
    const known = await refreshed.get(options.signal);
    if (known.value === ABSENT) return undefined;
    return known.staleness === undefined ? known.value : known.value.asStale(known.staleness);
  }

  /** Another file of metadata by its path, such as `linux-64/run_exports.json`; `undefined` where there is none. */
  async companion(path: string, signal?: AbortSignal): Promise<ServedDocument | undefined> {
    const slash = path.lastIndexOf('/');
    const file = path.slice(slash + 1);
    const isKnown = slash < 0 ? CHANNEL_FILES.has(file) : COMPANION_FILES.has(file);
    if (!isKnown || (slash >= 0 && !isSubdir(path.slice(0, slash)))) return undefined;
    this.#checkOpen();
    const refreshed = remember(this.#companions, path, () => this.#refresh(path, this.#loadCompanion(path)));
    const { value, staleness } = await refreshed.get(signal);
    return value === ABSENT ? undefined : { ...value.document(), staleness };
  }

  /** A shard of what is served, or was a while ago; `undefined` for no shard of this subdir. */
  async shard(subdir: string, digest: string, signal?: AbortSignal): Promise<ReturnType<ShardSet['shard']>> {
    const generation = await this.generation(subdir, { signal });
    const former = this.#formerShards.get(subdir) ?? [];
    for (const { shards } of [generation, ...former].filter((one) => one !== undefined)) {
      const found = shards?.shard(digest);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Whether anything of the channel was readable at any time. */
  get wasReadable(): boolean {
    return [...this.#repodata.values()].some(({ last }) => last !== undefined && last !== ABSENT);
  }

  /** Whether a registry that refuses the repodata of a subdir says that there is none: others can be read, and it never could. */
  async mayLackRepodata(subdir: string, signal?: AbortSignal): Promise<boolean> {
    const last = this.#repodata.get(subdir)?.last;
    return (last === undefined || last === ABSENT) && (await this.#isReadable(signal)) === true;
  }

  /** What each subdir that was asked for has now, without asking: for people and for metrics. */
  *known(): Generator<SubdirGeneration> {
    for (const { last } of this.#repodata.values()) if (last !== undefined && last !== ABSENT) yield last;
  }

  /** Since when each subdir that was asked for could not be brought up to date, where that is so. */
  staleSince(subdir: string): Date | undefined {
    return this.#repodata.get(subdir)?.failing?.since;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const all = [...this.#repodata.values(), ...this.#companions.values(), this.#subdirs];
    await Promise.all(all.map((refreshed) => refreshed.close()));
    for (const former of this.#formerShards.values())
      await Promise.all(former.map((generation) => generation.release()));
    this.#formerShards.clear();
  }

  /** Nobody would let go of what is read from now on. */
  #checkOpen(): void {
    if (this.#isClosed) throw new FerryError('TIMEOUT', `\`${this.name}\` was let go meanwhile`);
  }

  #refresh<T extends Releasable>(
    path: string,
    load: (last: T | undefined, signal: AbortSignal) => Promise<T | typeof ABSENT | 'unchanged'>,
  ): Refreshed<T | typeof ABSENT> {
    const { times, now, onStale } = this.#options;
    return new Refreshed<T | typeof ABSENT>({
      ...times,
      now,
      load: async (last, signal) => {
        try {
          return await load(last === ABSENT ? undefined : last, signal);
        } catch (error) {
          onStale?.(path, error);
          throw error;
        }
      },
      onReplaced: (last) => {
        if (last !== ABSENT) this.#retire(last);
      },
    });
  }

  #retire(last: Releasable): void {
    if (!(last instanceof SubdirGeneration)) {
      void last.release();
      return;
    }
    void last.releaseForms();
    const former = this.#formerShards.get(last.subdir) ?? [];
    former.unshift(last);
    this.#formerShards.set(last.subdir, former);
    for (const old of former.splice(KEPT_SHARD_SETS)) void old.release();
  }

  #loadRepodata(subdir: string) {
    return async (
      last: SubdirGeneration | undefined,
      signal: AbortSignal,
    ): Promise<SubdirGeneration | typeof ABSENT | 'unchanged'> => {
      const { temp, workers, source, makeShards, now } = this.#options;
      const options = { temp, workers, signal };
      const path = `${subdir}/repodata.json`;
      const taken = await takeRepodata(source, path, { ...options, unless: last?.from }).catch(
        async (error: unknown) => {
          if (last === undefined && (await this.isAbsence(error, signal))) return ABSENT;
          throw error;
        },
      );
      if (taken === 'unchanged') return 'unchanged';
      if (taken === 'absent') {
        // A disk that is not mounted says the same of what was on it, and clients would solve without.
        if (last?.from !== undefined && !(await this.#hasOthers(subdir, signal)))
          throw new FerryError('CHANNEL_NOT_FOUND', `nothing of \`${this.name}\` is there any more`);
        // The presence of this file is what makes a channel; clients give up without. @see CEP 26
        if (subdir !== 'noarch' || !(await this.#hasSubdirs(signal))) return ABSENT;
        if (last !== undefined && last.from === undefined) return 'unchanged';
        const empty = { info: { subdir }, packages: {}, 'packages.conda': {} };
        const text = await HeldFile.write(openerOf(Buffer.from(`${JSON.stringify(empty)}\n`))(), temp);
        const modified = new Date(now());
        return new SubdirGeneration({ subdir, taken: { text }, modified, makeShards, tools: options });
      }
      if (last !== undefined && last.plain.digest === taken.text.digest && taken.original === undefined) {
        last.from = taken.from;
        await Promise.all([taken.text.release(), taken.zst?.release()]);
        return 'unchanged';
      }
      const modified = dateOf(taken.lastModified, now);
      return new SubdirGeneration({ subdir, taken, modified, makeShards, tools: options });
    };
  }

  #loadCompanion(path: string) {
    return async (
      last: CompanionDocument | undefined,
      signal: AbortSignal,
    ): Promise<CompanionDocument | typeof ABSENT | 'unchanged'> => {
      const { temp, workers, source, now } = this.#options;
      const options = { temp, workers, signal, unless: last?.from };
      const isRepodata = /repodata[^/]*\.json$/.test(path);
      const check = (text: Bytes): Bytes => checkJson(text, `\`${path}\``, MAX_CHECKED_JSON_BYTES);
      const taken = await (
        isRepodata ? takeRepodata(source, path, options) : takeDocument(source, path, { ...options, check })
      ).catch(async (error: unknown) => {
        if (last === undefined && (await this.isAbsence(error, signal))) return ABSENT;
        throw error;
      });
      // Strangers are told the same of what is absent, and it was there when we were none.
      if (taken === 'absent' && last !== undefined && (await this.#isReadable(signal)) === false)
        throw new FerryError('DENIED', `nothing of \`${this.name}\` can be read any more`);
      if (taken === 'unchanged' || taken === 'absent') return taken;
      await taken.original?.release();
      const forms = new DocumentForms(taken.text, taken.zst, { temp, workers });
      return new CompanionDocument(taken.from, dateOf(taken.lastModified, now), forms);
    };
  }

  /**
   * Whether a refusal means that a file is not there: registries tell strangers the same of what is absent and of what is
   * private. It does as long as anything of the channel can be read; where that was so and no more is, credentials have ended.
   * @see ghcr/G5
   */
  async isAbsence(error: unknown, signal: AbortSignal): Promise<boolean> {
    if (!isFerryError(error, 'DENIED') && !isFerryError(error, 'UNAUTHORIZED')) return false;
    const isReadable = await this.#isReadable(signal);
    if (isReadable !== undefined || this.store === undefined) return isReadable === true;
    try {
      return ((await this.source.subdirs({ signal })) ?? []).length > 0;
    } catch {
      return false;
    }
  }

  /** Whether what could be read before can be read now; `undefined` where nothing ever could. */
  async #isReadable(signal: AbortSignal | undefined, except?: string): Promise<boolean | undefined> {
    const readable = [...this.known()].find(({ from, subdir }) => from !== undefined && subdir !== except);
    if (readable?.from === undefined) return undefined;
    const { file, validators: unless } = readable.from;
    try {
      const answer = await this.source.openMetadata(`${readable.subdir}/${file}`, { unless, signal });
      if (answer.status === 'found') await this.#dismiss(answer.body);
      return answer.status !== 'absent';
    } catch {
      return false;
    }
  }

  /** Whether there is a channel at all: nobody is told of an empty one where there is none. */
  async #hasSubdirs(signal: AbortSignal): Promise<boolean> {
    return this.wasReadable || this.#findsAny(signal);
  }

  /** Whether a subdir of which nothing is left is all that is gone. */
  async #hasOthers(subdir: string, signal: AbortSignal): Promise<boolean> {
    return (await this.#isReadable(signal, subdir)) ?? this.#findsAny(signal);
  }

  async #findsAny(signal: AbortSignal): Promise<boolean> {
    const listed = await this.source.subdirs({ signal }).catch((error: unknown) => {
      // A channel that is configured may be on a disk that is not there; a label is something that a client made up.
      if (this.label === undefined || !isFerryError(error, 'CHANNEL_NOT_FOUND')) throw error;
      return [];
    });
    if (listed !== undefined) return listed.length > 0;
    for (const subdir of LIKELY_SUBDIRS) {
      const answer = await this.source.openMetadata(`${subdir}/repodata.json`, { signal });
      if (answer.status === 'absent') continue;
      if (answer.status === 'found') await this.#dismiss(answer.body);
      return true;
    }
    return false;
  }

  /** Ends what nobody reads; an answer over a line is begun for that, or it would keep its connection. Stores have not asked yet. */
  async #dismiss(body: Bytes): Promise<void> {
    const pieces = body[Symbol.asyncIterator]();
    if (this.store === undefined) await pieces.next();
    await pieces.return?.();
  }

  async #findSubdirs(signal: AbortSignal): Promise<readonly string[]> {
    const listed = await this.source.subdirs({ signal });
    const found = new Set(listed ?? (await this.#subdirsOfChanneldata(signal)));
    for (const { subdir } of this.known()) found.add(subdir);
    found.add('noarch');
    return [...found].sort();
  }

  /** A web server lists nothing; what it says of itself may do. */
  async #subdirsOfChanneldata(signal: AbortSignal): Promise<readonly string[]> {
    const document = await this.companion('channeldata.json', signal);
    if (document === undefined || document.plain.size > MAX_CHECKED_JSON_BYTES) return [];
    const pieces: Uint8Array[] = [];
    for await (const piece of streamContent(document.plain, 0, signal)) pieces.push(piece);
    const value = JSON.parse(Buffer.concat(pieces).toString('utf8')) as { readonly subdirs?: unknown } | null;
    const subdirs = Array.isArray(value?.subdirs) ? value.subdirs : [];
    return subdirs.filter(
      (subdir): subdir is string => typeof subdir === 'string' && KNOWN_SUBDIRS.includes(subdir),
    );
  }
}

interface Releasable {
  release(): Promise<void>;
}

/** One state of a file besides the repodata. */
class CompanionDocument implements Releasable {
  readonly from: TakenFrom;
  readonly #modified: Date;
  readonly #forms: DocumentForms;

  constructor(from: TakenFrom, modified: Date, forms: DocumentForms) {
    this.from = from;
    this.#modified = modified;
    this.#forms = forms;
  }

  document(): Omit<ServedDocument, 'staleness'> {
    const forms = this.#forms;
    return {
      modified: this.#modified,
      plain: forms.plain,
      readyForm: (encoding: Encoding) => forms.readyForm(encoding),
      form: (encoding: Encoding, signal?: AbortSignal) => forms.form(encoding, signal),
    };
  }

  async release(): Promise<void> {
    await this.#forms.release();
  }
}

function dateOf(lastModified: string | undefined, now: () => number): Date {
  const stated = new Date(lastModified ?? '');
  return Number.isNaN(stated.getTime()) ? new Date(now()) : stated;
}

/** The value of a key, made where there is none; the oldest ones that nobody could load go. What is being loaded would have no owner. */
function remember<T>(map: Map<string, Refreshed<T>>, key: string, make: () => Refreshed<T>): Refreshed<T> {
  const known = map.get(key);
  if (known !== undefined) return known;
  if (map.size >= MAX_REMEMBERED) {
    for (const [old, { last, isAsking }] of map) {
      if (isAsking || (last !== undefined && last !== ABSENT)) continue;
      map.delete(old);
      break;
    }
  }
  const made = make();
  map.set(key, made);
  return made;
}
