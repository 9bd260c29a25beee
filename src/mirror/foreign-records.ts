import { FerryError } from '../errors.js';

const NAMED = 3;

/**
 * Makes the error for records that others listed at the destination, and that publishing would drop.
 * @param where such as `` `noarch` of `ghcr.io/org/channel` ``
 * @param whose ends the sentence, such as `the source does not`
 */
export function foreignRecords(
  where: string,
  filenames: Iterable<string>,
  whose: string,
  hint: string,
): FerryError {
  const all = Array.from(filenames, (name) => `\`${name}\``);
  const more = all.length > NAMED ? ` and ${String(all.length - NAMED)} more` : '';
  const named = all.slice(0, NAMED).join(', ');
  return new FerryError('FOREIGN_RECORDS', `${where} lists ${named}${more}, which ${whose}`, { hint });
}
