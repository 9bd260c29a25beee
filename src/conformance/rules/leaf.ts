import type { Leaf, Schema } from '../../artifact/schema.js';
import type { CheckLog } from '../check-log.js';

/**
 * Judges the repositories below a subdir by their names alone.
 * @param leaf last component of the repository's name, such as `czlib`
 * @returns what it is for
 */
export function checkLeaf(schema: Schema, subdir: string, leaf: string, log: CheckLog): Leaf {
  const reading = schema.readLeaf(leaf);
  if (schema.id === 'v0') return reading;
  const where = `${subdir}/${leaf}`;
  const isHash = leaf.startsWith('h');
  log.expect(isHash ? 'v1/S3' : 'v1/S4', reading.kind !== 'other', () => ({
    where,
    found: isHash ? 'a repository with `h` that is no hash' : 'a repository of no known kind',
    expected: isHash ? '`h` and 64 lower-case hex digits' : 'one of `m…`, `c…`, `h…`',
    hint: 'another schema needs another channel path',
  }));
  if (reading.kind === 'metadata') {
    log.expect('v1/S1', reading.file !== undefined, () => ({
      where,
      found: 'a repository of metadata that the draft does not know',
      expected: 'names with `m` for the metadata of the subdir alone',
    }));
  }
  return reading;
}
