/**
 * Writes tar files of which every byte is fixed by their members. Reading is left to a library; writing is ours,
 * since digests hang on each byte: ustar, and pax records only where ustar cannot hold a path or link.
 * @see POSIX.1-2017, pax, "ustar Interchange Format"
 */
import { concatBytes } from '../io/bytes.js';

const BLOCK_BYTES = 512;
const MAX_NAME_BYTES = 100;
const MAX_PREFIX_BYTES = 155;
/** Where the fields of a header start, in bytes. */
const AT = {
  name: 0,
  mode: 100,
  uid: 108,
  gid: 116,
  size: 124,
  mtime: 136,
  checksum: 148,
  type: 156,
  link: 157,
};
const AT_MAGIC = 257;
const AT_DEVICE = 329;
const AT_PREFIX = 345;
const PAX_NAME = '././@PaxHeader';

/** A file or symbolic link in a tar. Owner and times are always 0 and nameless. */
export type TarMember =
  | { readonly path: string; readonly mode: number; readonly type: 'file'; readonly bytes: Uint8Array }
  | { readonly path: string; readonly mode: number; readonly type: 'symlink'; readonly target: string };

/** Writes a whole tar, members in the order given, ended by two empty blocks. */
export function writeUstar(members: readonly TarMember[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const member of members) {
    const link = member.type === 'symlink' ? member.target : '';
    const place = splitPath(member.path);
    const records = [
      ...(place === undefined ? [paxRecord('path', member.path)] : []),
      ...(fits(link) ? [] : [paxRecord('linkpath', link)]),
    ];
    if (records.length > 0) {
      const content = concatBytes(records);
      parts.push(
        header({ name: PAX_NAME, prefix: '', link: '', mode: 0o644, size: content.byteLength, type: 'x' }),
      );
      parts.push(content, padding(content.byteLength));
    }
    const body = member.type === 'file' ? member.bytes : new Uint8Array(0);
    parts.push(
      header({
        ...(place ?? { name: shorten(member.path), prefix: '' }),
        link: shorten(link),
        mode: member.mode,
        size: body.byteLength,
        type: member.type === 'file' ? '0' : '2',
      }),
      body,
      padding(body.byteLength),
    );
  }
  parts.push(new Uint8Array(2 * BLOCK_BYTES));
  return concatBytes(parts);
}

interface Header {
  readonly name: string;
  readonly prefix: string;
  readonly link: string;
  readonly mode: number;
  readonly size: number;
  readonly type: '0' | '2' | 'x';
}

function header(fields: Header): Uint8Array {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(fields.name, AT.name, 'latin1');
  block.write(octal(fields.mode, 7), AT.mode, 'latin1');
  block.write(octal(0, 7), AT.uid, 'latin1');
  block.write(octal(0, 7), AT.gid, 'latin1');
  block.write(octal(fields.size, 11), AT.size, 'latin1');
  block.write(octal(0, 11), AT.mtime, 'latin1');
  block.write(fields.type, AT.type, 'latin1');
  block.write(fields.link, AT.link, 'latin1');
  block.write('ustar\x0000', AT_MAGIC, 'latin1');
  block.write(`${octal(0, 7)}\x00${octal(0, 7)}`, AT_DEVICE, 'latin1');
  block.write(fields.prefix, AT_PREFIX, 'latin1');
  // The checksum is made with its own field full of spaces.
  block.fill(0x20, AT.checksum, AT.type);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)}\x00 `, AT.checksum, 'latin1');
  return block;
}

/** Splits a path between the two fields of a header at the last slash that may serve; `undefined` where none does. */
function splitPath(path: string): { readonly name: string; readonly prefix: string } | undefined {
  if (fits(path)) return { name: path, prefix: '' };
  if (!isAscii(path)) return undefined;
  const slash = path.lastIndexOf('/', MAX_PREFIX_BYTES);
  const name = path.slice(slash + 1);
  if (slash <= 0 || name === '' || name.length > MAX_NAME_BYTES) return undefined;
  return { name, prefix: path.slice(0, slash) };
}

/** A pax record counts its own length, digits included. */
function paxRecord(key: string, value: string): Uint8Array {
  const rest = Buffer.from(` ${key}=${value}\n`, 'utf8');
  let length = rest.byteLength + 1;
  while (String(length).length + rest.byteLength !== length) length = String(length).length + rest.byteLength;
  return concatBytes([Buffer.from(String(length), 'latin1'), rest]);
}

function fits(text: string): boolean {
  return text.length <= MAX_NAME_BYTES && isAscii(text);
}

function isAscii(text: string): boolean {
  return Buffer.byteLength(text, 'utf8') === text.length;
}

/** What stands in the header where a pax record holds the truth. */
function shorten(text: string): string {
  return Array.from(text, (character) => (isAscii(character) ? character : '?'))
    .join('')
    .slice(0, MAX_NAME_BYTES);
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0');
}

function padding(size: number): Uint8Array {
  return new Uint8Array((BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES);
}
