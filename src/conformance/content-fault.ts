import { isFerryError, type FerryError } from '../errors.js';

/** Whether content is absent or other than its descriptor says, rather than out of reach. */
export function isContentFault(error: unknown): error is FerryError {
  return (
    isFerryError(error, 'NOT_FOUND') ||
    isFerryError(error, 'DIGEST_MISMATCH') ||
    isFerryError(error, 'SIZE_MISMATCH') ||
    isFerryError(error, 'SIZE_EXCEEDED')
  );
}
