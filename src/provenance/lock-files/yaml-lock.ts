import { z } from 'zod';
import { readLockedUrl, uniteLocks, type LockedArchive, type LockedArchives } from './locked-archives.js';

/** The versions whose entries stand in `package`, each with its `manager`: conda-lock's 1 and pixi's first three. */
const FLAT_VERSIONS: readonly string[] = ['1', '2', '3'];
/** The versions of rattler-lock whose entries stand in `packages`: pixi's from 0.13 on. */
const NESTED_VERSIONS: readonly string[] = ['4', '5', '6', '7'];

/** All scalars are text here; what stands for nothing in YAML does so too. */
const scalar = z
  .string()
  .optional()
  .transform((text) => (text === undefined || /^(?:|~|null)$/i.test(text) ? undefined : text));
const hex = (length: number) =>
  scalar.pipe(
    z
      .string()
      .regex(new RegExp(`^[0-9a-f]{${String(length)}}$`, 'i'), `is no hash of ${String(length)} digits`)
      .transform((text) => text.toLowerCase())
      .optional(),
  );
const hashes = { sha256: hex(64).optional(), md5: hex(32).optional() };
const noHashes: z.infer<typeof flatHash> = {};
const flatHash = z.looseObject(hashes);

const flatEntry = z.looseObject({
  manager: z.enum(['conda', 'pip', 'pypi']),
  url: z.string(),
  hash: z.union([flatHash, z.literal('').transform(() => noHashes)]).optional(),
});

const nestedEntry = z.looseObject({
  ...hashes,
  // Version 4 and 5.
  kind: z.enum(['conda', 'pypi']).optional(),
  url: scalar.optional(),
  path: scalar.optional(),
  // From version 6 on.
  conda: scalar.optional(),
  pypi: scalar.optional(),
  conda_source: scalar.optional(),
});

const flatLock = z.looseObject({ version: z.string(), package: z.array(flatEntry) });
const nestedLock = z.looseObject({
  version: z.string(),
  // An environment without packages has an empty text here.
  packages: z.union([z.array(nestedEntry), z.literal('').transform(() => [])]),
});
const anyLock = z.looseObject({ version: z.string() });

/** What is wrong with a document, and what to do about it. */
export type Refuse = (why: string, hint?: string) => Error;

/**
 * Reads the document of a `conda-lock.yml` or `pixi.lock`, all scalars of which are text.
 * @param refuse makes the error for what is wrong with it
 */
export function readYamlLock(document: unknown, refuse: Refuse): LockedArchives {
  const { version } = check(anyLock, document, refuse);
  const { packages } = document as { packages?: unknown };
  const isNested = packages !== undefined;
  if (!(isNested ? NESTED_VERSIONS : FLAT_VERSIONS).includes(version)) {
    throw refuse(
      `version \`${version.slice(0, 20)}\` is not known`,
      'conda-lock.yml is read in version 1, pixi.lock in versions 1 to 7; look for a newer conda-ferry',
    );
  }
  return isNested
    ? readNested(check(nestedLock, document, refuse).packages, refuse)
    : readFlat(check(flatLock, document, refuse).package);
}

function readFlat(entries: readonly z.infer<typeof flatEntry>[]): LockedArchives {
  const archives: LockedArchive[] = [];
  let pypi = 0;
  let elsewhere = 0;
  for (const { manager, url, hash } of entries) {
    const archive = manager === 'conda' ? readLockedUrl(url, pick(hash ?? noHashes)) : undefined;
    if (manager !== 'conda') pypi += 1;
    else if (archive === undefined) elsewhere += 1;
    else archives.push(archive);
  }
  return uniteLocks([{ archives, ignored: { pypi, elsewhere } }]);
}

function readNested(entries: readonly z.infer<typeof nestedEntry>[], refuse: Refuse): LockedArchives {
  const archives: LockedArchive[] = [];
  let pypi = 0;
  let elsewhere = 0;
  for (const [index, entry] of entries.entries()) {
    const place = entry.kind === 'conda' ? (entry.url ?? entry.path) : entry.conda;
    if (entry.pypi !== undefined || entry.kind === 'pypi') pypi += 1;
    else if (entry.conda_source !== undefined) elsewhere += 1;
    else if (place === undefined) throw refuse(`\`packages.${String(index)}\` is of no kind that is known`);
    else {
      const archive = readLockedUrl(place, pick(entry));
      if (archive === undefined) elsewhere += 1;
      else archives.push(archive);
    }
  }
  return uniteLocks([{ archives, ignored: { pypi, elsewhere } }]);
}

function pick({ sha256, md5 }: z.infer<typeof flatHash>): z.infer<typeof flatHash> {
  return { sha256, md5 };
}

function check<T>(schema: z.ZodType<T>, document: unknown, refuse: Refuse): T {
  const result = schema.safeParse(document);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue === undefined || issue.path.length === 0 ? 'the document' : issue.path.join('.');
  throw refuse(`\`${path}\`: ${issue?.message ?? 'not valid'}`);
}
