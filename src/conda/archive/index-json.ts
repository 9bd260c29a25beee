import { z } from 'zod';
import { FerryError } from '../../errors.js';
import { shorten } from './member-path.js';

// Only what this project works with is checked; old packages hold odd things elsewhere, and all of it is kept.
const schema = z.looseObject({
  name: z.string().min(1),
  version: z.string().min(1),
  build: z.string(),
  build_number: z.number().optional(),
  /** Packages of the first years have none. */
  subdir: z.string().nullish(),
  /** `true` in packages of the first years. */
  noarch: z.union([z.string(), z.boolean()]).nullish(),
  arch: z.string().nullish(),
  platform: z.string().nullish(),
});

/** `info/index.json` of a package. Unknown keys are kept. @see CEP 34 */
export type IndexJson = Readonly<z.infer<typeof schema>>;

/** What an archive should be, by its file name and where it lies. */
export interface ExpectedIndex {
  readonly filename: string;
  readonly name: string;
  readonly version: string;
  readonly build: string;
  readonly subdir: string;
}

/**
 * Parses `info/index.json`: UTF-8, and of two equal keys the last one counts.
 * @throws FerryError `ARCHIVE_INDEX_INVALID`
 * @see CEP 34
 */
export function parseIndexJson(bytes: Uint8Array): IndexJson {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FerryError('ARCHIVE_INDEX_INVALID', '`info/index.json` is not JSON in UTF-8', { cause });
  }
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const place = issue === undefined || issue.path.length === 0 ? '' : `\`${issue.path.join('.')}\`: `;
  const message = `\`info/index.json\` is not what CEP 34 asks for: ${place}${issue?.message ?? 'unknown fault'}`;
  throw new FerryError('ARCHIVE_INDEX_INVALID', message, { cause: result.error });
}

/**
 * Checks that `info/index.json` speaks of the package that its file name and subdir promise. An index without a subdir
 * is taken.
 * @throws FerryError `ARCHIVE_INDEX_MISMATCH`, `ARCHIVE_SUBDIR_MISMATCH`
 */
export function checkIndexJson(index: IndexJson, expected: ExpectedIndex): void {
  for (const field of ['name', 'version', 'build'] as const) {
    if (index[field] !== expected[field]) {
      throw new FerryError(
        'ARCHIVE_INDEX_MISMATCH',
        mismatch(field, index[field], expected[field], expected.filename),
      );
    }
  }
  const { subdir = null } = index;
  if (subdir !== null && subdir !== expected.subdir) {
    const message = mismatch('subdir', subdir, expected.subdir, expected.filename);
    throw new FerryError('ARCHIVE_SUBDIR_MISMATCH', message);
  }
}

function mismatch(field: string, actual: string, expected: string, filename: string): string {
  return `\`info/index.json\` of \`${filename}\` has ${field} \`${shorten(actual)}\` instead of \`${expected}\``;
}
