import {
  closeSync,
  futimesSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { FerryError, isSystemError } from '../../errors.js';
import { translateWriteError } from '../../io/atomic-file.js';
import { PACKAGE_ROOT, resolveLinks } from './info-links.js';
import {
  limitExceeded,
  MAX_INDEX_JSON_BYTES,
  MAX_INFO_BYTES,
  MAX_PAYLOAD_MEMBERS,
  MAX_PAYLOAD_PATH_BYTES,
} from './limits.js';
import { badLink, checkLinkTarget, parseHardLink } from './member-link.js';
import { parseMemberPath, shorten, unsafe } from './member-path.js';
import type { TarMember, TarMemberSink } from './tar.js';
import { windowsFault } from './windows-name.js';

/** Clients write it into the unpacked package, and trust it: an archive has no say in it. @see CEP 34 */
const RESERVED_PATH = 'info/repodata_record.json';
const INDEX_PATH = 'info/index.json';

/** What lies at a path of the package by now. Symlinks are only noted. */
type Entry = { readonly type: 'directory' | 'file' } | { readonly type: 'symlink'; readonly target: string };

/** Options of {@link PackageWriter}. */
export interface PackageWriterOptions {
  /** Whose rules for names hold, as in `process.platform`. @defaultValue this system's */
  readonly platform?: string | undefined;
}

/**
 * Writes the members of a package's tars into a folder of its own, which has to be empty and nobody else's. It is all
 * synchronous, as the reader of the tar wants it: run it in a worker.
 *
 * Nothing is ever written through a symlink: they are made when all files are there, and files only where nothing is. So a
 * file system that takes two names for one cannot be made to follow a link either; it refuses the second one.
 */
export class PackageWriter {
  readonly #folder: string;
  readonly #platform: string;
  readonly #entries = new Map<string, Entry>();
  #members = 0;
  #pathBytes = 0;
  #infoBytes = 0;
  #file: number | undefined;
  #indexJson: Uint8Array | undefined;

  /** @param folder an empty folder */
  constructor(folder: string, { platform = process.platform }: PackageWriterOptions = {}) {
    this.#folder = folder;
    this.#platform = platform;
  }

  /**
   * Takes the next member, for `readTar`. Of several members of one path the last one stays.
   * @throws FerryError `ARCHIVE_PATH_UNSAFE`, `ARCHIVE_LINK_UNSAFE`, `ARCHIVE_MEMBER_TYPE`, `ARCHIVE_LIMIT_EXCEEDED`,
   * `DISK_FULL`, `OUTPUT_UNWRITABLE`
   */
  visit(member: TarMember): TarMemberSink | undefined {
    const what = `member \`${member.name}\``;
    const components = parseMemberPath(member.name, what);
    if (member.name.includes('\ufffd')) throw unsafe(what, 'it is not UTF-8');
    for (const component of this.#platform === 'win32' ? components : []) {
      const fault = windowsFault(component);
      if (fault !== undefined) throw unsafe(what, fault);
    }
    if (member.type === 'other') throw wrongType(what, 'is neither file, directory nor link');
    this.#members += 1;
    this.#claim(member.name, member.linkTarget);
    const path = components.join('/');
    if (path === RESERVED_PATH) return undefined;
    this.#makeFolders(components.slice(0, -1), what);
    if (member.type === 'directory') {
      if (path !== '') this.#makeFolder(path, what);
      return undefined;
    }
    if (path === '' || path === 'info') throw wrongType(what, 'is not a directory');
    if (member.type === 'symlink') {
      const target = checkLinkTarget(member, what);
      this.#clear(path, what);
      this.#entries.set(path, { type: 'symlink', target });
      return undefined;
    }
    if (member.type === 'file') return this.#receive(path, member, what);
    this.#link(path, member, what);
    return undefined;
  }

  /**
   * Makes the symlinks, and ends.
   * @returns the bytes of `info/index.json`
   * @throws FerryError `ARCHIVE_LINK_UNSAFE`, `ARCHIVE_INDEX_MISSING`, and as {@link visit}
   */
  finish(): Uint8Array {
    const [all, info] = [new Map<string, string>(), new Map<string, string>()];
    for (const [path, entry] of this.#entries) {
      if (entry.type !== 'symlink') continue;
      all.set(path, entry.target);
      if (path.startsWith('info/')) info.set(path.slice('info/'.length), entry.target);
    }
    // As of every archive that is packed, too: what one verb refuses no other shall take.
    resolveLinks(info);
    resolveLinks(all, undefined, PACKAGE_ROOT);
    for (const [path, target] of all) {
      this.#attempt(path, `member \`${path}\``, (place) => {
        symlinkSync(target, place);
      });
    }
    const indexJson = this.#entries.get(INDEX_PATH)?.type === 'file' ? this.#indexJson : undefined;
    if (indexJson === undefined)
      throw new FerryError('ARCHIVE_INDEX_MISSING', `the archive has no file \`${INDEX_PATH}\``);
    return indexJson;
  }

  /** Lets go of a file that was not finished. */
  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #receive(path: string, member: TarMember, what: string): TarMemberSink {
    const isIndex = path === INDEX_PATH;
    if (path.startsWith('info/')) this.#infoBytes += member.size;
    if (this.#infoBytes > MAX_INFO_BYTES)
      throw limitExceeded(`\`info/\` has more than ${String(MAX_INFO_BYTES)} bytes`);
    if (isIndex && member.size > MAX_INDEX_JSON_BYTES)
      throw limitExceeded(`\`${INDEX_PATH}\` has more than ${String(MAX_INDEX_JSON_BYTES)} bytes`);
    this.#clear(path, what);
    const mode = (member.mode & 0o111) === 0 ? 0o644 : 0o755;
    this.#attempt(path, what, (place) => {
      // Exclusive: where something stands, link or file, this fails.
      this.#file = openSync(place, 'wx', mode);
    });
    const file = this.#file ?? -1;
    const kept: Uint8Array[] = [];
    return {
      write: (chunk) => {
        if (isIndex) kept.push(new Uint8Array(chunk));
        this.#attempt(path, what, () => {
          for (let done = 0; done < chunk.byteLength;) done += writeSync(file, chunk, done);
        });
      },
      end: () => {
        if (isIndex) this.#indexJson = Buffer.concat(kept);
        this.#attempt(path, what, () => {
          // Python takes a `.pyc` for outdated where the time of its source is another than the one in it.
          futimesSync(file, member.modifiedSeconds, member.modifiedSeconds);
          this.close();
        });
        this.#entries.set(path, { type: 'file' });
      },
    };
  }

  #link(path: string, member: TarMember, what: string): void {
    const components = parseHardLink(member, what);
    const target = components.join('/');
    const entry = this.#entries.get(target);
    if (entry === undefined || entry.type === 'directory')
      throw badLink(what, member.linkTarget, 'is no earlier file of the package');
    if (path.startsWith('info/') && components[0] !== 'info')
      throw badLink(what, member.linkTarget, 'is outside of `info/`');
    if (path === target) return;
    this.#clear(path, what);
    if (entry.type === 'file') {
      this.#attempt(path, what, (place) => {
        linkSync(this.#place(target), place);
      });
    }
    this.#entries.set(path, entry);
  }

  #makeFolders(components: readonly string[], what: string): void {
    const direct = components.join('/');
    if (direct === '' || this.#entries.get(direct)?.type === 'directory') return;
    let path = '';
    for (const component of components) {
      path = path === '' ? component : `${path}/${component}`;
      this.#makeFolder(path, what);
    }
  }

  #makeFolder(path: string, what: string): void {
    const entry = this.#entries.get(path);
    if (entry?.type === 'directory') return;
    if (entry !== undefined) throw unsafe(what, `\`${shorten(path)}\` is a ${entry.type}`);
    this.#claim(path, '');
    this.#attempt(path, what, (place) => {
      mkdirSync(place);
    });
    this.#entries.set(path, { type: 'directory' });
  }

  /** Takes away what an earlier member put at a path. */
  #clear(path: string, what: string): void {
    const entry = this.#entries.get(path);
    if (entry?.type === 'directory') throw unsafe(what, 'it is a directory already');
    if (entry?.type === 'file') {
      this.#attempt(path, what, (place) => {
        unlinkSync(place);
      });
    }
    this.#entries.delete(path);
  }

  /** Counts what the archive makes us hold. */
  #claim(path: string, target: string): void {
    if (Math.max(this.#members, this.#entries.size) > MAX_PAYLOAD_MEMBERS)
      throw limitExceeded(`the package has more than ${String(MAX_PAYLOAD_MEMBERS)} members`);
    this.#pathBytes += path.length + target.length;
    if (this.#pathBytes > MAX_PAYLOAD_PATH_BYTES)
      throw limitExceeded(`the paths of the package have more than ${String(MAX_PAYLOAD_PATH_BYTES)} bytes`);
  }

  #place(path: string): string {
    return join(this.#folder, path);
  }

  /** Does something at a path where nothing is known to be. */
  #attempt(path: string, what: string, action: (place: string) => void): void {
    const place = this.#place(path);
    try {
      action(place);
    } catch (error) {
      if (isSystemError(error, 'EEXIST'))
        throw unsafe(what, 'this file system takes another member for the same, such as one in other case');
      throw translateWriteError(error, place);
    }
  }
}

function wrongType(what: string, why: string): FerryError {
  return new FerryError('ARCHIVE_MEMBER_TYPE', `${shorten(what)} ${why}`);
}
