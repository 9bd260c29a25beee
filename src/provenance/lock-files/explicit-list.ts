import { readLockedUrl, uniteLocks, type LockedArchive, type LockedArchives } from './locked-archives.js';

/** A URL or a path, and its hash: `…/zlib-1.2.11-h7b6447c_3.conda#d41d8cd98f00b204e9800998ecf8427e`. */
const LINE_PATTERN = /^(?<place>\S+?)(?:#(?<hash>\S*))?$/;
const HASH_PATTERN = /^(?:(?<md5>(?:md5:)?[0-9a-f]{32})|(?<sha256>(?:sha256:)?[0-9a-f]{64}))$/i;

/** What ends here is a place, whether it is one that a channel has or not. */
const ENDS_LIKE_ARCHIVE = /\.(?:conda|tar\.bz2)$/;

/** Tells whether the text is an explicit list: it has the line `@EXPLICIT`, which no YAML has, `@` being reserved. */
export function isExplicitList(text: string): boolean {
  return /^\s*@EXPLICIT\s*$/m.test(text);
}

/**
 * Reads an explicit list, as `conda list --explicit`, `micromamba env export --explicit` and `conda-lock --kind explicit`
 * write it: `@EXPLICIT`, then one URL a line with `#md5`, `#sha256:hex`, or neither.
 * @param refuse makes the error for what is wrong with a line
 */
export function parseExplicitList(text: string, refuse: (why: string) => Error): LockedArchives {
  const archives: LockedArchive[] = [];
  let pypi = 0;
  let elsewhere = 0;
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    // conda-lock hides what pip is to install in comments.
    if (/^#\s*pip\s/.test(line)) pypi += 1;
    if (line === '' || line.startsWith('#') || line === '@EXPLICIT') continue;
    const where = `line ${String(index + 1)}`;
    const { place, hash } = LINE_PATTERN.exec(line)?.groups ?? {};
    if (place === undefined || !ENDS_LIKE_ARCHIVE.test(place)) throw refuse(`${where} names no archive`);
    const groups = hash === undefined ? {} : HASH_PATTERN.exec(hash)?.groups;
    if (groups === undefined) throw refuse(`the hash in ${where} is neither md5 nor sha256`);
    const hashes = { sha256: withoutAlgorithm(groups['sha256']), md5: withoutAlgorithm(groups['md5']) };
    const archive = readLockedUrl(place, hashes);
    if (archive === undefined) elsewhere += 1;
    else archives.push(archive);
  }
  return uniteLocks([{ archives, ignored: { pypi, elsewhere } }]);
}

function withoutAlgorithm(hash: string | undefined): string | undefined {
  return hash?.replace(/^\w+:/, '').toLowerCase();
}
