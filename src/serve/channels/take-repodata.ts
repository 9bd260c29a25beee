import type { ChannelSource, Validators } from '../../conda/channel-source.js';
import { Repodata } from '../../conda/repodata/repodata.js';
import { surveyRepodata, type RepodataSurvey } from '../../conda/repodata/survey-repodata.js';
import { FerryError, IntegrityError, isFerryError } from '../../errors.js';
import type { Bytes } from '../../io/bytes.js';
import { decompressZstdStream } from '../../io/zstd-stream.js';
import { HeldFile } from '../held-file.js';
import type { FormTools } from './document-forms.js';

/** Far above the largest repodata there is (200 MB in 2026). */
const MAX_REPODATA_BYTES = 4 * 1024 ** 3;
const SMALL_BYTES = 256 * 1024;

/** Which file of the source was read, and how to ask whether it changed. */
export interface TakenFrom {
  /** Such as `repodata.json.zst`. */
  readonly file: string;
  readonly validators: Validators;
}

/** A document as it was taken. */
export interface TakenDocument {
  readonly from: TakenFrom;
  /** As it is served. */
  readonly text: HeldFile;
  /** The source's own compressed form, where it is of the text that is served. */
  readonly zst: HeldFile | undefined;
  /** The source's text, where another one is served; it knows where the archives are. */
  readonly original: HeldFile | undefined;
  readonly lastModified: string | undefined;
}

/** What {@link takeRepodata} works with. */
export interface TakeOptions extends FormTools {
  readonly unless: TakenFrom | undefined;
  readonly signal: AbortSignal;
}

/**
 * Takes a file of repodata from a source, as it is unless it would lead clients elsewhere.
 * @param path of the plain file, such as `linux-64/repodata.json`
 * @throws ParseError `REPODATA_INVALID`; IntegrityError `SIZE_EXCEEDED`; FerryError `DISK_FULL`; whatever the source throws
 */
export async function takeRepodata(
  source: ChannelSource,
  path: string,
  options: TakeOptions,
): Promise<TakenDocument | 'absent' | 'unchanged'> {
  const { unless, temp, signal } = options;
  const subdir = path.slice(0, path.lastIndexOf('/'));
  let survey: RepodataSurvey | undefined;
  const check = (text: Bytes): Bytes => surveyRepodata(text, subdir, (found) => (survey = found));
  const taken = await takeDocument(source, path, { ...options, unless, check });
  if (typeof taken === 'string') return taken;
  if (survey?.leadsElsewhere !== true) return taken;
  const { text, zst, from, lastModified } = taken;
  try {
    await zst?.release();
    const repodata = await Repodata.read(text.openBytes, subdir, { signal, digest: () => text.digest });
    const spliced = await HeldFile.write(
      repodata.splice(() => true),
      temp,
    );
    return { from, lastModified, text: spliced, zst: undefined, original: text };
  } catch (error) {
    await text.release();
    throw error;
  }
}

/** Options of {@link takeDocument}. */
export interface TakeDocumentOptions extends TakeOptions {
  /** Looks at the plain text as it passes, and throws for what is none. */
  readonly check: (text: Bytes) => Bytes;
}

/** Takes a document from a source, from its compressed form where it has one. @throws as {@link takeRepodata} */
export async function takeDocument(
  source: ChannelSource,
  path: string,
  options: TakeDocumentOptions,
): Promise<TakenDocument | 'absent' | 'unchanged'> {
  const { unless, signal } = options;
  const name = path.slice(path.lastIndexOf('/') + 1);
  const files = unless === undefined ? [`${name}.zst`, name] : [unless.file];
  for (const file of files) {
    const answer = await source.openMetadata(path.slice(0, path.length - name.length) + file, {
      unless: unless?.validators,
      signal,
    });
    if (answer.status === 'unchanged') return 'unchanged';
    if (answer.status === 'absent') continue;
    const { body, validators } = answer;
    try {
      const { text, zst } = await takeText(body, file, options);
      const lastModified = validators.lastModified;
      return { from: { file, validators }, text, zst, original: undefined, lastModified };
    } catch (error) {
      signal.throwIfAborted();
      // A compressed form that cannot be read says nothing of the plain one.
      if (file === name || !isFerryError(error, 'REPODATA_INVALID')) throw error;
      const plain = await takeDocument(source, path, { ...options, unless: { file: name, validators: {} } });
      if (plain === 'absent') throw error;
      return plain;
    }
  }
  // The form that was read last time is gone; another one may still be there.
  return unless === undefined || unless.file === name
    ? 'absent'
    : takeDocument(source, path, { ...options, unless: undefined });
}

async function takeText(
  body: Bytes,
  file: string,
  { temp, workers, check, signal }: TakeDocumentOptions,
): Promise<{ readonly text: HeldFile; readonly zst: HeldFile | undefined }> {
  const what = `\`${file}\``;
  const taken = limited(body, what, signal);
  if (!file.endsWith('.zst')) return { text: await HeldFile.write(check(taken), temp), zst: undefined };
  const zst = await HeldFile.write(taken, temp);
  try {
    const limits = { maxBytes: MAX_REPODATA_BYTES, what };
    const plain =
      zst.size <= SMALL_BYTES
        ? decompressZstdStream(zst.openBytes(), limits)
        : workers.decompressing(zst.openBytes, limits)({ signal });
    return { text: await HeldFile.write(check(plain), temp), zst };
  } catch (error) {
    await zst.release();
    throw error;
  }
}

async function* limited(body: Bytes, what: string, signal: AbortSignal): Bytes {
  let size = 0;
  for await (const chunk of body) {
    signal.throwIfAborted();
    size += chunk.byteLength;
    if (size > MAX_REPODATA_BYTES) throw new IntegrityError('SIZE_EXCEEDED', what, MAX_REPODATA_BYTES, size);
    yield chunk;
  }
}

/** Looks whether a document is JSON, as far as that takes no more memory than `maxBytes`. @throws FerryError `REPODATA_INVALID` */
export async function* checkJson(text: Bytes, what: string, maxBytes: number): Bytes {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of text) {
    size += chunk.byteLength;
    if (size <= maxBytes) pieces.push(chunk);
    else pieces.length = 0;
    yield chunk;
  }
  if (size > maxBytes) return;
  try {
    JSON.parse(Buffer.concat(pieces).toString('utf8'));
  } catch (cause) {
    throw new FerryError('REPODATA_INVALID', `${what} is no JSON`, { cause });
  }
}
