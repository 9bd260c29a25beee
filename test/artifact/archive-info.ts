/**
 * Reads the `info/` members of archives with nothing of ours: yauzl, zstd-napi, libbzip2 and tar-stream.
 */
import BZip2, { type Bzip2Heap } from 'bzip2-wasm';
import { extract } from 'tar-stream';
import { fromBufferPromise } from 'yauzl';
import { DecompressStream } from 'zstd-napi';
import { sha256 } from '../support/audit.js';

/** What `info/` of an archive holds: path without `info/` → digest of the content, or `-> ` and a link's target. */
export interface ArchiveInfo {
  readonly members: ReadonlyMap<string, string>;
  readonly executables: readonly string[];
  readonly indexJson: Buffer;
}

/** Reads an archive that is in order. */
export async function readArchiveInfo(filename: string, bytes: Buffer): Promise<ArchiveInfo> {
  const tar = filename.endsWith('.conda') ? await infoTarOf(bytes) : await unpackBzip2(bytes);
  const members = new Map<string, string>();
  const executables = new Set<string>();
  let indexJson = Buffer.alloc(0);
  const reader = extract();
  reader.end(tar);
  for await (const entry of reader) {
    const { name, type, linkname, mode } = entry.header;
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const path = name.replace(/^\.\//, '');
    if (!path.startsWith('info/') || type === 'directory') continue;
    const member = path.slice('info/'.length);
    if (type === 'symlink') members.set(member, `-> ${linkname}`);
    else if (type === 'link') members.set(member, members.get(linkname.slice('info/'.length)) ?? 'dangling');
    else members.set(member, sha256(Buffer.concat(chunks)));
    if (type === 'file' && (mode & 0o111) !== 0) executables.add(member);
    if (member === 'index.json') indexJson = Buffer.concat(chunks);
  }
  return { members, executables: [...executables].sort(), indexJson };
}

async function infoTarOf(bytes: Buffer): Promise<Buffer> {
  const zip = await fromBufferPromise(bytes);
  for await (const entry of zip.eachEntry()) {
    if (!entry.fileName.startsWith('info-')) continue;
    const chunks: Buffer[] = [];
    const packed = await zip.openReadStreamPromise(entry);
    for await (const chunk of packed.pipe(new DecompressStream())) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  }
  throw new Error('the zip has no info tarball');
}

type Decompressor = Bzip2Heap & {
  _BZ2_bzBuffToBuffDecompress(
    destination: number,
    destinationLength: number,
    source: number,
    sourceLength: number,
    small: number,
    verbosity: number,
  ): number;
};

const MAX_TAR_BYTES = 8 * 1024 * 1024;
let loading: Promise<Decompressor> | undefined;

async function unpackBzip2(bytes: Buffer): Promise<Buffer> {
  const heap = await (loading ??= load());
  // Streams may follow one another; each starts at a byte.
  const starts = [...bytes.toString('latin1').matchAll(/BZh[1-9]1AY&SY/g)].map(({ index }) => index);
  return Buffer.concat(starts.map((start, i) => unpackStream(heap, bytes.subarray(start, starts[i + 1]))));
}

function unpackStream(heap: Decompressor, bytes: Buffer): Buffer {
  const [source, destination, length] = [
    heap._malloc(bytes.length),
    heap._malloc(MAX_TAR_BYTES),
    heap._malloc(4),
  ];
  heap.HEAPU8.set(bytes, source);
  heap.setValue(length, MAX_TAR_BYTES, 'i32');
  const status = heap._BZ2_bzBuffToBuffDecompress(destination, length, source, bytes.length, 0, 0);
  if (status !== 0) throw new Error(`libbzip2 returned ${status}`);
  const unpacked = Buffer.from(heap.HEAPU8.slice(destination, destination + heap.getValue(length, 'i32')));
  for (const pointer of [source, destination, length]) heap._free(pointer);
  return unpacked;
}

async function load(): Promise<Decompressor> {
  const library = new BZip2();
  await library.init();
  return library.wasmModule as Decompressor;
}
