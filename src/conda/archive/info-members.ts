import { FerryError } from '../../errors.js';
import { resolveLinks } from './info-links.js';
import { limitExceeded, MAX_INDEX_JSON_BYTES, MAX_INFO_BYTES, MAX_INFO_MEMBERS } from './limits.js';
import { badLink, checkLinkTarget, parseHardLink } from './member-link.js';
import { parseMemberPath, shorten, unsafe } from './member-path.js';
import type { TarMember, TarMemberSink } from './tar.js';

/** A member of `info/`. `path` is without `info/`, such as `recipe/meta.yaml`. Bytes may be shared; do not change them. */
export type InfoMember =
  | { readonly path: string; readonly type: 'file'; readonly mode: 0o644 | 0o755; readonly bytes: Uint8Array }
  | { readonly path: string; readonly type: 'symlink'; readonly target: string };

/** A member without its path, which a hard link shares with its target. */
type InfoContent =
  | { readonly type: 'file'; readonly mode: 0o644 | 0o755; readonly bytes: Uint8Array }
  | { readonly type: 'symlink'; readonly target: string };

/**
 * Gathers the `info/` members of a tar by their paths without `info/`, as they would lie on a disk after all members
 * were unpacked in order.
 */
export class InfoMembers {
  readonly #contents = new Map<string, InfoContent>();
  #count = 0;
  #bytes = 0;

  /**
   * Takes the next member of the tar, for `readTar`. Members outside of `info/` are only checked for their paths.
   * @throws FerryError `ARCHIVE_PATH_UNSAFE`, `ARCHIVE_LINK_UNSAFE`, `ARCHIVE_MEMBER_TYPE`, `ARCHIVE_LIMIT_EXCEEDED`
   */
  visit(member: TarMember): TarMemberSink | undefined {
    const what = `member \`${member.name}\``;
    const [folder, ...components] = parseMemberPath(member.name, what);
    if (folder !== 'info') return undefined;
    this.#count++;
    if (this.#count > MAX_INFO_MEMBERS)
      throw limitExceeded(`\`info/\` has more than ${String(MAX_INFO_MEMBERS)} members`);
    if (member.name.includes('\ufffd')) throw unsafe(what, 'it is not UTF-8');
    const path = components.join('/');
    this.#checkParents(components, what);
    switch (member.type) {
      case 'directory':
        // Extractors disagree which of the two stays.
        this.#checkParents([...components, ''], what);
        return undefined;
      case 'file':
        checkIsBelowInfo(path, what);
        return this.#receive(path, member);
      case 'symlink':
        checkIsBelowInfo(path, what);
        this.#contents.set(path, { type: 'symlink', target: checkLinkTarget(member, what) });
        return undefined;
      case 'link':
        checkIsBelowInfo(path, what);
        this.#contents.set(path, this.#linked(member, what));
        return undefined;
      case 'other':
        throw wrongType(what, 'is neither file, directory nor link');
    }
  }

  /**
   * What is there in the end, sorted by the bytes of the UTF-8 paths.
   * @throws FerryError `ARCHIVE_PATH_UNSAFE`, `ARCHIVE_LINK_UNSAFE`, `ARCHIVE_LIMIT_EXCEEDED`
   */
  finish(): readonly InfoMember[] {
    const targets = new Map<string, string>();
    for (const [path, content] of this.#contents) {
      // Again: a link may have come, in place of a folder, after what lies below it.
      this.#checkParents(path.split('/'), `member \`info/${path}\``);
      if (content.type === 'symlink') targets.set(path, content.target);
    }
    resolveLinks(targets);
    return [...this.#contents]
      .map(([path, content]) => ({ key: Buffer.from(path), member: { path, ...content } }))
      .sort((a, b) => a.key.compare(b.key))
      .map(({ member }) => member);
  }

  #checkParents(components: readonly string[], what: string): void {
    let parent = '';
    for (const component of components.slice(0, -1)) {
      parent = parent === '' ? component : `${parent}/${component}`;
      const content = this.#contents.get(parent);
      if (content !== undefined) throw unsafe(what, `\`info/${shorten(parent)}\` is a ${content.type}`);
    }
  }

  #receive(path: string, member: TarMember): TarMemberSink {
    const mode = (member.mode & 0o111) === 0 ? 0o644 : 0o755;
    const allowed = path === 'index.json' ? MAX_INDEX_JSON_BYTES : MAX_INFO_BYTES;
    const chunks: Uint8Array[] = [];
    // The declared size: what declares too much is refused at once, and more than declared never comes.
    if (member.size > allowed)
      throw limitExceeded(`\`info/${shorten(path)}\` has more than ${String(allowed)} bytes`);
    this.#claim(member.size);
    return {
      write: (chunk) => {
        // Copied: the chunk is part of a larger one, which would stay in memory with it.
        chunks.push(new Uint8Array(chunk));
      },
      end: () => {
        const only = chunks[0];
        const bytes = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
        this.#contents.set(path, { type: 'file', mode, bytes });
      },
    };
  }

  /** A hard link has what its target has at this moment; later members replace only one of the two. */
  #linked(member: TarMember, what: string): InfoContent {
    const components = parseHardLink(member, what);
    if (components[0] !== 'info') throw badLink(what, member.linkTarget, 'is outside of `info/`');
    const content = this.#contents.get(components.slice(1).join('/'));
    if (content === undefined) throw badLink(what, member.linkTarget, 'is no earlier file of `info/`');
    // Files linked to one another become so many copies in the artifact.
    if (content.type === 'file') this.#claim(content.bytes.byteLength);
    return content;
  }

  #claim(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > MAX_INFO_BYTES)
      throw limitExceeded(`\`info/\` has more than ${String(MAX_INFO_BYTES)} bytes`);
  }
}

function checkIsBelowInfo(path: string, what: string): void {
  if (path === '') throw wrongType(what, 'is not a directory');
}

function wrongType(what: string, why: string): FerryError {
  return new FerryError('ARCHIVE_MEMBER_TYPE', `${shorten(what)} ${why}`);
}
