import { FerryError, isFerryError, isSystemError, type FerryErrorCode } from '../errors.js';

/**
 * Waits for a step of the start; where it fails with that code and nothing says yet what to do, the hint is added.
 * @throws what the step fails with
 */
export async function hinted<T>(
  step: Promise<T>,
  code: FerryErrorCode,
  hintFor: (error: FerryError) => string | undefined,
): Promise<T> {
  try {
    return await step;
  } catch (error) {
    if (!isFerryError(error, code) || error.hint !== undefined) throw error;
    throw new FerryError(code, error.message, { cause: error.cause, hint: hintFor(error) });
  }
}

/** What to do where an address or a certificate cannot be taken; `undefined` where nobody knows. */
export function listenHint({ cause }: FerryError): string | undefined {
  if (isSystemError(cause, 'EADDRINUSE'))
    return 'stop what listens there, or take another port with --listen HOST:PORT';
  if (isSystemError(cause, 'EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN'))
    return 'pass --listen 0.0.0.0:PORT or [::]:PORT for all addresses of this machine';
  if (isSystemError(cause, 'EACCES'))
    return 'ports below 1024 need rights: take a higher one with --listen, and a proxy in front of it';
  // What is wrong with a certificate, OpenSSL says.
  return isTlsError(cause)
    ? 'pass PEM files that belong together: the chain as --tls-cert, its key as --tls-key'
    : undefined;
}

function isTlsError(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^ERR_(?:OSSL|TLS|SSL|CRYPTO)/.test(code);
}
