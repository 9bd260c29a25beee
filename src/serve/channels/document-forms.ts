import { createGzip } from 'node:zlib';
import { Readable } from 'node:stream';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import type { Bytes } from '../../io/bytes.js';
import { untilAborted } from '../../io/single-flight.js';
import type { TempFolder } from '../../io/temp-folder.js';
import { compressZstdStream } from '../../io/zstd-stream.js';
import type { Content } from '../content.js';
import { HeldFile } from '../held-file.js';
import type { Encoding } from './served-channel.js';

/** What is smaller is compressed on the spot: a thread costs more to reach than that takes. */
const SMALL_BYTES = 256 * 1024;
/** As conda-index compresses it; made once for each state of a document. */
const ZSTD_LEVEL = 9;
const GZIP_LEVEL = 6;

/** What {@link DocumentForms} works with. */
export interface FormTools {
  readonly temp: TempFolder;
  readonly workers: WorkerPool;
}

/**
 * A document and what it looks like compressed. Each form is made once, by whoever asks first, and kept until
 * {@link release} was called and nobody reads it any more.
 */
export class DocumentForms {
  readonly plain: Content;
  readonly #text: HeldFile;
  readonly #tools: FormTools;
  readonly #forms = new Map<Encoding, Promise<HeldFile>>();
  readonly #ready = new Map<Encoding, HeldFile>();

  /** @param zst the source's own compressed form, if there is one */
  constructor(text: HeldFile, zst: HeldFile | undefined, tools: FormTools) {
    this.plain = text;
    this.#text = text;
    this.#tools = tools;
    if (zst !== undefined) this.#keep('zstd', zst);
  }

  /** Reads the plain text. */
  get open(): HeldFile['openBytes'] {
    return this.#text.openBytes;
  }

  /** The form, if it is there by now; else it is begun. */
  readyForm(encoding: Encoding): Content | undefined {
    if (encoding === 'identity') return this.plain;
    // Who waits for it hears of a failure.
    this.form(encoding).catch(() => undefined);
    return this.#ready.get(encoding);
  }

  /** The form, made if need be. @throws FerryError `DISK_FULL` */
  async form(encoding: Encoding, signal?: AbortSignal): Promise<Content> {
    if (encoding === 'identity') return this.plain;
    let form = this.#forms.get(encoding);
    if (form === undefined) {
      form = this.#make(encoding);
      this.#forms.set(encoding, form);
      // The next one who asks tries anew.
      form.catch(() => this.#forms.delete(encoding));
    }
    return untilAborted(form, signal);
  }

  /** Lets all forms go when nobody reads them any more. */
  async release(): Promise<void> {
    const forms = await Promise.allSettled(this.#forms.values());
    for (const form of forms) if (form.status === 'fulfilled') await form.value.release();
    await this.#text.release();
  }

  #keep(encoding: Encoding, form: HeldFile): void {
    this.#forms.set(encoding, Promise.resolve(form));
    this.#ready.set(encoding, form);
  }

  async #make(encoding: Exclude<Encoding, 'identity'>): Promise<HeldFile> {
    const { temp, workers } = this.#tools;
    const { size } = this.plain;
    const text = this.#text.openBytes();
    const zstd = (): Bytes =>
      size <= SMALL_BYTES
        ? compressZstdStream(text, { level: ZSTD_LEVEL, size })
        : workers.compressing(text, { level: ZSTD_LEVEL, size });
    const form = await HeldFile.write(encoding === 'zstd' ? zstd() : gzip(text), temp);
    this.#ready.set(encoding, form);
    return form;
  }
}

/** Node compresses in threads of its own. */
function gzip(text: Bytes): Bytes {
  const stream = createGzip({ level: GZIP_LEVEL });
  const source = Readable.from(text, { objectMode: false });
  source.once('error', (error) => stream.destroy(error));
  return source.pipe(stream);
}
