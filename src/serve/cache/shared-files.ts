import { isSystemError } from '../../errors.js';
import type { Digest } from '../../io/digest.js';
import type { OpenedBytes } from '../../io/opened-bytes.js';

/** How long a file stays open for the next one who wants it, in milliseconds. */
const KEEP_MS = 1000;
/** So many at most; where handles are scarce, none are kept. */
const MAX_KEPT = 384;

interface SharedFile {
  readonly opened: OpenedBytes;
  readonly untilMs: number;
  readers: number;
  isKept: boolean;
}

/**
 * Opens a file once for all who want it within a moment: opening and closing costs more than reading some hundred kilobytes.
 * What was written to meanwhile is opened, and checked, anew. To be disposed of.
 */
export class SharedFiles implements AsyncDisposable {
  readonly #kept = new Map<Digest, SharedFile>();
  #timer: NodeJS.Timeout | undefined;

  /** Opens a file, or joins those who have it open. To be disposed of by each. */
  async open(
    digest: Digest,
    openFile: () => Promise<OpenedBytes | undefined>,
  ): Promise<OpenedBytes | undefined> {
    const known = this.#kept.get(digest);
    if (known !== undefined && performance.now() < known.untilMs && known.opened.isUnchanged?.() === true)
      return share(known);
    const opened = await this.#openAnew(openFile);
    if (opened?.isUnchanged === undefined) return opened;
    this.forget(digest);
    const file = { opened, untilMs: performance.now() + KEEP_MS, readers: 0, isKept: true };
    this.#kept.set(digest, file);
    const view = share(file);
    if (this.#kept.size > MAX_KEPT) {
      const [oldest] = this.#kept.keys();
      if (oldest !== undefined) this.forget(oldest);
    }
    this.#timer ??= this.#tidyLater();
    return view;
  }

  async #openAnew(openFile: () => Promise<OpenedBytes | undefined>): Promise<OpenedBytes | undefined> {
    try {
      return await openFile();
    } catch (error) {
      if (this.#kept.size === 0 || !isSystemError(error, 'EMFILE', 'ENFILE')) throw error;
      await this[Symbol.asyncDispose]();
      return openFile();
    }
  }

  /** Keeps a file open no longer than it is read. */
  forget(digest: Digest): void {
    const file = this.#kept.get(digest);
    if (file === undefined) return;
    this.#kept.delete(digest);
    file.isKept = false;
    void closeUnread(file);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const files = [...this.#kept.values()];
    this.#kept.clear();
    for (const file of files) file.isKept = false;
    await Promise.all(files.map(closeUnread));
  }

  #tidyLater(): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#timer = undefined;
      const nowMs = performance.now();
      for (const [digest, { untilMs }] of this.#kept) if (untilMs <= nowMs) this.forget(digest);
      if (this.#kept.size > 0) this.#timer = this.#tidyLater();
    }, KEEP_MS);
    return timer.unref();
  }
}

function share(file: SharedFile): OpenedBytes {
  file.readers += 1;
  let isOpen = true;
  const { opened } = file;
  return {
    size: opened.size,
    identity: opened.identity,
    read: (target, position) => opened.read(target, position),
    [Symbol.asyncDispose]: async () => {
      if (!isOpen) return;
      isOpen = false;
      file.readers -= 1;
      await closeUnread(file);
    },
  };
}

async function closeUnread(file: SharedFile): Promise<void> {
  if (!file.isKept && file.readers === 0) await file.opened[Symbol.asyncDispose]();
}
