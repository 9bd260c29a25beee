import type { OpenBytes } from '../../io/bytes.js';
import type { Digest } from '../../io/digest.js';
import type { OpenedBytes } from '../../io/opened-bytes.js';
import type { CallOptions } from '../../oci/storage.js';

/** Where content that is not at hand can be had. */
export interface ContentOrigin {
  readonly digest: Digest;
  /** In bytes, where that is known before; else it is taken as it comes, up to the cache's limit. */
  readonly size: number | undefined;
  /** Opens the bytes from far away; they are checked on their way into the cache. */
  readonly open: OpenBytes;
  /** Opens the file that holds the bytes already, where the store is on this disk; nothing is copied then. */
  readonly openFile?: ((options?: CallOptions) => Promise<OpenedBytes | undefined>) | undefined;
}
