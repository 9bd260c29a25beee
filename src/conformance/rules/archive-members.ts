import { createHash } from 'node:crypto';
import { resolveLinks } from '../../conda/archive/info-links.js';
import {
  limitExceeded,
  MAX_INDEX_JSON_BYTES,
  MAX_INFO_BYTES,
  MAX_INFO_JSON_BYTES,
  MAX_INFO_MEMBERS,
  MAX_PATH_BYTES,
  MAX_PATHS_JSON_BYTES,
  MAX_PAYLOAD_MEMBERS,
  MAX_PAYLOAD_PATH_BYTES,
} from '../../conda/archive/limits.js';
import { isAbsolute, parseMemberPath, shorten } from '../../conda/archive/member-path.js';
import type { TarMember, TarMemberSink } from '../../conda/archive/tar.js';
import { isFerryError } from '../../errors.js';
import type { CheckLog } from '../check-log.js';
import type { ClauseId } from '../clauses.js';

/** Which tar a member is in: one of the two of a `.conda`, or the only one of a `.tar.bz2`. */
export type TarballKind = 'info' | 'pkg' | 'whole';

/** What lies at a path of the package, after all members were unpacked. */
export type ArchiveEntry =
  | { readonly type: 'directory'; readonly tarball: TarballKind }
  | { readonly type: 'symlink'; readonly tarball: TarballKind; readonly target: string }
  | {
      readonly type: 'file';
      readonly tarball: TarballKind;
      /** In bytes. */
      readonly size: number;
      /** In hex; `''` for what is in `info/`. */
      readonly sha256: string;
    };

/** Files of `info/` that are kept, and how long they may be. */
const KEPT_FILES: ReadonlyMap<string, number> = new Map([
  ['info/index.json', MAX_INDEX_JSON_BYTES],
  ['info/paths.json', MAX_PATHS_JSON_BYTES],
  ['info/run_exports.json', MAX_INFO_JSON_BYTES],
  ['info/about.json', MAX_INFO_JSON_BYTES],
  ['info/link.json', MAX_INFO_JSON_BYTES],
  ['info/hash_input.json', MAX_INFO_JSON_BYTES],
]);

/**
 * Judges the members of an archive's tars as they come, and remembers what lies where. The payload's bytes are hashed
 * and let go; of `info/` only the documents are kept.
 */
export class ArchiveMembers {
  readonly #where: string;
  readonly #log: CheckLog;
  readonly #entries = new Map<string, ArchiveEntry>();
  readonly #documents = new Map<string, Uint8Array>();
  #infoCount = 0;
  #infoBytes = 0;
  #payloadCount = 0;
  #pathBytes = 0;

  constructor(where: string, log: CheckLog) {
    this.#where = where;
    this.#log = log;
  }

  /** What lies at each path, such as `lib/libz.so`. */
  get entries(): ReadonlyMap<string, ArchiveEntry> {
    return this.#entries;
  }

  /** The bytes of a document of `info/`, such as `info/index.json`, where it is a file and not too long. */
  document(path: string): Uint8Array | undefined {
    return this.#documents.get(path);
  }

  /**
   * Takes the next member, for `readTar`. Breaches are taken down and the reading goes on.
   * @throws FerryError `ARCHIVE_LIMIT_EXCEEDED`
   */
  visit(member: TarMember, tarball: TarballKind): TarMemberSink | undefined {
    const components = this.#parsePath(member.name);
    if (components === undefined || components.length === 0) return undefined;
    const path = components.join('/');
    const isInfo = components[0] === 'info';
    this.#claim(member, path, isInfo);
    this.#checkPlace(path, isInfo, tarball);
    return this.#take(member, path, tarball);
  }

  /**
   * Judges what shows only when all members have come.
   * @throws FerryError `ARCHIVE_LIMIT_EXCEEDED`
   */
  finish(): void {
    const infoLinks = new Map<string, string>();
    for (const [path, entry] of this.#entries) {
      this.#checkParents(path);
      if (entry.type !== 'symlink') continue;
      if (path.startsWith('info/')) infoLinks.set(path.slice('info/'.length), entry.target);
      else this.#checkPayloadLink(path, entry.target);
    }
    const broken = new Set<string>();
    resolveLinks(infoLinks, (path, error) => {
      broken.add(path);
      this.#report('cep35/info-link', `info/${path}`, error.message, 'a way that stays in `info/`');
    });
    for (const path of infoLinks.keys()) if (!broken.has(path)) this.#pass('cep35/info-link');
  }

  #parsePath(name: string): readonly string[] | undefined {
    try {
      const components = parseMemberPath(name, `member \`${name}\``);
      if (name.includes('\ufffd')) {
        this.#report('cep35/member-path', name, 'a path that is not UTF-8', 'UTF-8');
        return undefined;
      }
      this.#pass('cep35/member-path');
      return components;
    } catch (error) {
      if (!isFerryError(error, 'ARCHIVE_PATH_UNSAFE')) throw error;
      this.#report('cep35/member-path', name, error.message, 'a path inside the package');
      return undefined;
    }
  }

  /** Counts what the archive makes us hold. */
  #claim(member: TarMember, path: string, isInfo: boolean): void {
    if (member.linkTarget.length > MAX_PATH_BYTES)
      throw limitExceeded(
        `the target of the link \`${shorten(path)}\` has more than ${String(MAX_PATH_BYTES)} bytes`,
      );
    if (isInfo) {
      if (++this.#infoCount > MAX_INFO_MEMBERS)
        throw limitExceeded(`\`info/\` has more than ${String(MAX_INFO_MEMBERS)} members`);
      this.#infoBytes += member.type === 'file' ? member.size : 0;
      if (this.#infoBytes > MAX_INFO_BYTES)
        throw limitExceeded(`\`info/\` has more than ${String(MAX_INFO_BYTES)} bytes`);
      return;
    }
    if (++this.#payloadCount > MAX_PAYLOAD_MEMBERS)
      throw limitExceeded(`the payload has more than ${String(MAX_PAYLOAD_MEMBERS)} members`);
    this.#pathBytes += path.length + member.linkTarget.length;
    if (this.#pathBytes > MAX_PAYLOAD_PATH_BYTES)
      throw limitExceeded(`the paths of the payload have more than ${String(MAX_PAYLOAD_PATH_BYTES)} bytes`);
  }

  #checkPlace(path: string, isInfo: boolean, tarball: TarballKind): void {
    if (tarball === 'info')
      this.#expect('cep35/info-content', isInfo, path, 'a member of the info tarball', '`info/` only');
    if (tarball === 'pkg')
      this.#expect('cep35/pkg-content', !isInfo, path, 'a member of the pkg tarball', 'nothing of `info/`');
    const isRecord = path === 'info/repodata_record.json';
    this.#expect('cep34/no-repodata-record', !isRecord, path, 'a member of that name', 'none');
    const isConda = path === 'conda-meta' || path.startsWith('conda-meta/');
    this.#expect('cep34/no-conda-meta', !isConda, path, 'a member in `conda-meta/`', 'none');
  }

  #take(member: TarMember, path: string, tarball: TarballKind): TarMemberSink | undefined {
    const known = this.#entries.get(path);
    const isKnownType = member.type !== 'other';
    this.#expect('cep35/member-type', isKnownType, path, 'a device or the like', 'a file, folder or link');
    if (member.type === 'directory') {
      // Where a link lies there, unpackers disagree which of the two stays.
      if (known === undefined) this.#entries.set(path, { type: 'directory', tarball });
      else if (known.type !== 'directory')
        this.#report('cep35/member-path', path, `a folder in the place of a ${known.type}`, 'one of the two');
      return undefined;
    }
    this.#expect(
      'cep35/member-once',
      known === undefined,
      path,
      'a further member of that path',
      'each path once',
    );
    if (!isKnownType || path === 'info') {
      if (isKnownType) this.#report('cep35/member-type', path, `a ${member.type}`, 'a folder');
      return undefined;
    }
    this.#documents.delete(path);
    if (member.type === 'file') return this.#receive(path, member, tarball);
    if (member.type === 'symlink')
      this.#entries.set(path, { type: 'symlink', tarball, target: member.linkTarget });
    else this.#link(path, member, tarball);
    return undefined;
  }

  #receive(path: string, member: TarMember, tarball: TarballKind): TarMemberSink {
    const allowed = KEPT_FILES.get(path);
    if (allowed !== undefined && member.size > allowed)
      throw limitExceeded(`\`${path}\` has more than ${String(allowed)} bytes`);
    const chunks: Uint8Array[] = [];
    const hash = path.startsWith('info/') ? undefined : createHash('sha256');
    return {
      write: (chunk) => {
        hash?.update(chunk);
        if (allowed !== undefined) chunks.push(new Uint8Array(chunk));
      },
      end: () => {
        const sha256 = hash?.digest('hex') ?? '';
        this.#entries.set(path, { type: 'file', tarball, size: member.size, sha256 });
        if (allowed !== undefined) this.#documents.set(path, Buffer.concat(chunks));
      },
    };
  }

  /** A hard link has what its target has at this moment. */
  #link(path: string, member: TarMember, tarball: TarballKind): void {
    const target = parseTarget(member.linkTarget);
    const leads = `a hard link to \`${shorten(member.linkTarget)}\``;
    if (target !== undefined && path.startsWith('info/') && !target.startsWith('info/')) {
      this.#report('cep35/info-link', path, leads, 'a target in `info/`');
      return;
    }
    const entry = target === undefined ? undefined : this.#entries.get(target);
    const isThere = entry !== undefined && entry.type !== 'directory' && entry.tarball === tarball;
    this.#expect('cep35/link-target', isThere, path, leads, 'an earlier file of the same tar');
    if (!isThere || target === undefined) return;
    const bytes = this.#documents.get(target);
    this.#entries.set(path, entry);
    if (bytes !== undefined && KEPT_FILES.has(path)) this.#documents.set(path, bytes);
  }

  #checkParents(path: string): void {
    for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
      const parent = this.#entries.get(path.slice(0, slash));
      if (parent === undefined || parent.type === 'directory') continue;
      const found = `\`${shorten(path.slice(0, slash))}\` is a ${parent.type}`;
      this.#report('cep35/member-path', path, found, 'folders above it');
      return;
    }
  }

  #checkPayloadLink(path: string, target: string): void {
    const isInside = target !== '' && !isAbsolute(target) && resolveTarget(path, target) !== undefined;
    const found = target === '' ? 'a symlink without target' : `a symlink to \`${shorten(target)}\``;
    this.#expect('cep35/payload-link', isInside, path, found, 'a target inside the package');
  }

  #expect(clause: ClauseId, holds: boolean, path: string, found: string, expected: string): void {
    this.#log.expect(clause, holds, () => ({ where: `${this.#where}/${shorten(path)}`, found, expected }));
  }

  #report(clause: ClauseId, path: string, found: string, expected: string): void {
    this.#expect(clause, false, path, found, expected);
  }

  #pass(clause: ClauseId): void {
    this.#expect(clause, true, '', '', '');
  }
}

/**
 * Where a symlink leads by its text, other links left aside: `lib/libz.so` to `libz.so.1` gives `lib/libz.so.1`.
 * Returns undefined for what leaves the package.
 */
export function resolveTarget(path: string, target: string): string | undefined {
  const components = path.split('/').slice(0, -1);
  for (const component of target.split('/')) {
    if (component === '' || component === '.') continue;
    if (component !== '..') components.push(component);
    else if (components.pop() === undefined) return undefined;
  }
  return components.join('/');
}

function parseTarget(target: string): string | undefined {
  try {
    return target.includes('\ufffd') ? undefined : parseMemberPath(target, 'target').join('/');
  } catch (error) {
    if (isFerryError(error)) return undefined;
    throw error;
  }
}
