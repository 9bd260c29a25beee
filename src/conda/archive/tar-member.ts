import type { Header } from 'tar-stream';
import { FerryError } from '../../errors.js';

/** What a tar says of one member. */
export interface TarMember {
  /** As written, pax and GNU long names applied. */
  readonly name: string;
  readonly type: 'file' | 'link' | 'symlink' | 'directory' | 'other';
  /** Permission bits. */
  readonly mode: number;
  /** Declared bytes of content; nobody promises that they come. */
  readonly size: number;
  /** When it was changed last, in seconds since 1970; 0 where the tar tells nothing that can be. */
  readonly modifiedSeconds: number;
  /** Target of a link, `''` for others. */
  readonly linkTarget: string;
  /** Of its content in the tar, for messages. */
  readonly offset: number;
}

/** A header as tar-stream 3 really gives it: its types promise too much in some fields and lack others. */
export type TarStreamHeader = Omit<Header, 'type' | 'linkname' | 'pax' | 'mtime'> & {
  readonly type: string | null;
  readonly linkname: string | null;
  readonly byteOffset: number;
  readonly mtime: Date;
  readonly pax: Readonly<Record<string, string>> | null;
};

const TYPES_WITHOUT_CONTENT: readonly (string | null)[] = [
  'link',
  'symlink',
  'character-device',
  'block-device',
  'fifo',
];

/** Puts a header in our words. @throws FerryError `ARCHIVE_CORRUPT` for a link and the like that has content */
export function describeMember(header: TarStreamHeader): TarMember {
  const name = header.pax?.['path'] ? header.name : decodeName(header.name);
  const target = header.linkname ?? '';
  const { size } = header;
  const type = isSparse(header) ? 'other' : memberType(header.type, name);
  if (TYPES_WITHOUT_CONTENT.includes(header.type) && size > 0) {
    // Extractors disagree whether content follows, so they would see different members.
    const message = `member \`${name}\` is a ${String(header.type)} and yet has ${String(size)} bytes`;
    throw new FerryError('ARCHIVE_CORRUPT', message);
  }
  return {
    name,
    type,
    mode: header.mode,
    size,
    modifiedSeconds: modifiedSeconds(header),
    linkTarget: header.pax?.['linkpath'] ? target : decodeName(target),
    offset: header.byteOffset,
  };
}

/** Beyond the year 9999 file systems disagree what a time is. */
const MAX_SECONDS = 253_402_300_799;

/** The pax record tells fractions, and what stands beside it may be rounded up, which is another second. */
function modifiedSeconds({ mtime, pax }: TarStreamHeader): number {
  const seconds = Number(pax?.['mtime'] ?? mtime.getTime() / 1000);
  return seconds >= 0 && seconds <= MAX_SECONDS ? seconds : 0;
}

/** GNU tar keeps the true name and content of a file with holes in pax records and in the content. */
function isSparse(header: TarStreamHeader): boolean {
  return Object.keys(header.pax ?? {}).some((key) => key.startsWith('GNU.sparse.'));
}

function memberType(type: string | null, name: string): TarMember['type'] {
  // v7 has no type for directories.
  if (type === 'file') return name.endsWith('/') ? 'directory' : 'file';
  if (type === 'contiguous-file') return 'file';
  return type === 'link' || type === 'symlink' || type === 'directory' ? type : 'other';
}

/** Bytes to text; those that are not UTF-8 become U+FFFD, which is refused where the name counts. */
function decodeName(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}
