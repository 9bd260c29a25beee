import type { TokenAuthOptions } from './token-auth.js';
import type { ServerTls } from './loopback-server.js';

/** Where the answer to an upload's step says that the next one goes. */
export type LocationStyle =
  /** `/v2/…` */
  | 'relative'
  /** `http://HOST:PORT/v2/…` */
  | 'absolute'
  /** Absolute, with a port that is written otherwise and is the same. */
  | 'port'
  /** With `#…` behind it. */
  | 'fragment'
  /** With more than 3 KiB of query. */
  | 'long'
  /** Outside `/v2/`. */
  | 'other-path'
  /** On another host. */
  | { readonly origin: string };

/** How tags come in pages. */
export type TagDialect =
  /** `Link: </v2/…?n=…&last=…>; rel="next"` */
  | 'link'
  /** The same with scheme and host. */
  | 'link-absolute'
  /** Relative to the list: `<list?n=…>` */
  | 'link-relative'
  /** A cursor of its own; `last` is ignored. */
  | 'next_page'
  /** All tags at once, whatever is asked. */
  | 'ignores-n'
  /** As `link`; a list of none is `null`. */
  | 'null-when-empty';

/** Who may come in. */
export type DoubleAuth =
  | { readonly kind: 'none' }
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  | ({ readonly kind: 'token' } & TokenAuthOptions);

/** What a registry does and does not; by default it does everything that the specification knows. */
export interface RegistryDoubleOptions {
  /** @defaultValue `127.0.0.1` */
  readonly address?: string;
  /** @defaultValue none: plain HTTP */
  readonly tls?: ServerTls;
  /** @defaultValue everybody */
  readonly auth?: DoubleAuth;
  /** Has the referrers API. @defaultValue true */
  readonly referrers?: boolean;
  /** Tells `OCI-Subject`. @defaultValue as `referrers` */
  readonly ociSubject?: boolean;
  /** Answers referrers with a 303 to this origin. @defaultValue none */
  readonly referrersElsewhere?: string;
  /** `POST ?digest=` @defaultValue `accepts` */
  readonly singlePost?: 'accepts' | '202' | 'refuses';
  /** `POST ?mount=&from=` @defaultValue `accepts` */
  readonly mount?: 'accepts' | '202' | 401 | 404 | 405 | 500;
  /** Mounts without `from`. @defaultValue false */
  readonly anonymousMount?: boolean;
  /** @defaultValue `lexical` */
  readonly tagOrder?: 'lexical' | 'creation';
  /** Tags of a page where `n` is not given. @defaultValue 1000 */
  readonly tagPageSize?: number;
  /** A larger `n` is taken for this. @defaultValue 10000 */
  readonly tagPageMax?: number;
  /** @defaultValue `link` */
  readonly tagDialect?: TagDialect;
  /** Has `_catalog`. @defaultValue true */
  readonly catalog?: boolean;
  /** What can be deleted; the rest is answered 405. @defaultValue everything */
  readonly delete?: { readonly tags?: boolean; readonly manifests?: boolean; readonly blobs?: boolean };
  /** @defaultValue 4 MiB */
  readonly maxManifestBytes?: number;
  /** Answer to a manifest larger than that. @defaultValue 413 */
  readonly tooLargeManifestStatus?: 400 | 413 | 500;
  /** @defaultValue unlimited */
  readonly maxBlobBytes?: number;
  /** A PATCH of more is answered 416. @defaultValue unlimited */
  readonly maxPatchBytes?: number;
  /** `OCI-Chunk-Min-Length`. @defaultValue none */
  readonly chunkMinLength?: number;
  /** Whether PATCH is there at all; otherwise 405. @defaultValue true */
  readonly patch?: boolean;
  /** `frozen` stays at the end of the first chunk, as at ECR. @defaultValue `right` */
  readonly uploadRange?: 'right' | 'frozen';
  /** @defaultValue `relative` */
  readonly location?: LocationStyle;
  /** `Docker-Content-Digest` @defaultValue `right` */
  readonly digestHeader?: 'right' | 'absent' | 'wrong' | 'sha512';
  /** Honours Range. @defaultValue true */
  readonly ranges?: boolean;
  /**
   * Blob reads are answered 307: to a second origin of the double's own, which refuses Authorization with 400 as S3
   * does, to the same rules on the registry's origin, or to an origin that is given.
   * @defaultValue false
   */
  readonly redirectBlobs?: false | 'separate' | 'own' | { readonly to: string };
  /** Deeper names are answered 401 insufficient_scope, as at Docker Hub. @defaultValue unlimited */
  readonly maxPathDepth?: number;
  /** Makes repositories by the first push; otherwise NAME_UNKNOWN. @defaultValue true */
  readonly createRepositories?: boolean;
  /** Repositories that are there from the start. @defaultValue none */
  readonly repositories?: readonly string[];
  /** Between the end of a blob and its being there; the session is gone at once. @defaultValue 0 */
  readonly commitDelayMs?: number;
  /** Only blobs of that size are slow to commit. @defaultValue 0 */
  readonly commitDelayFromBytes?: number;
  /** Every write is answered 405. @defaultValue false */
  readonly readOnly?: boolean;
  /** Where faults that lead away lead to: an attacker's origin. @defaultValue `http://127.0.0.2:9` */
  readonly elsewhere?: string;
  /** Milliseconds. @defaultValue `Date.now` */
  readonly now?: () => number;
}
