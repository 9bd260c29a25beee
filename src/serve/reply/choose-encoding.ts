import Negotiator from 'negotiator';

/** How a body is compressed on its way, as `Content-Encoding` names it. */
export type ContentEncoding = 'zstd' | 'gzip';

// Of what a client wants equally much, the one that costs it least; plain comes last.
const PREFERRED = ['zstd', 'gzip', 'identity'] as const;

/** Clients send the same few headers again and again, and reading one takes longer than all else of a small reply. */
const known = new Map<string, ContentEncoding | 'identity'>();
const MAX_KNOWN = 256;
/** Nobody sends more by accident. */
const MAX_KNOWN_LENGTH = 200;

/** What the types of the library do not know of it yet. */
interface EncodingNegotiator {
  encoding(
    available: readonly string[],
    options: { readonly preferred: readonly string[] },
  ): string | undefined;
}

/**
 * Chooses the form a body is sent in, by a request's `Accept-Encoding`: what the client wants most, and of equals zstd
 * before gzip before plain. Who says nothing gets it plain. So does who takes nothing that there is: an answer in the
 * wrong form is worth more than none.
 * @see RFC 9110, section 12.5.3
 */
export function chooseEncoding(
  acceptEncoding: string | null,
  available: readonly ContentEncoding[],
): ContentEncoding | 'identity' {
  if (acceptEncoding === null || acceptEncoding === '' || available.length === 0) return 'identity';
  const key = `${available.join()} ${acceptEncoding}`;
  const before = known.get(key);
  if (before !== undefined) return before;
  const chosen = negotiate(acceptEncoding, available);
  if (key.length <= MAX_KNOWN_LENGTH) {
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(key, chosen);
  }
  return chosen;
}

function negotiate(
  acceptEncoding: string,
  available: readonly ContentEncoding[],
): ContentEncoding | 'identity' {
  const negotiator = new Negotiator({
    headers: { 'accept-encoding': acceptEncoding },
  }) as unknown as EncodingNegotiator;
  const chosen = negotiator.encoding([...available, 'identity'], { preferred: PREFERRED });
  return available.find((encoding) => encoding === chosen) ?? 'identity';
}
