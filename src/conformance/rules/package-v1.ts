import { encodeTagPart, decodeTagPart } from '../../artifact/tag-escapes.js';
import {
  BUILD_ANNOTATION,
  hashOf,
  isHashed,
  NAME_ANNOTATION,
  SCHEMA_ANNOTATION,
  VERSION_ANNOTATION,
} from '../../artifact/schema-v1.js';
import { shorten } from '../../conda/archive/member-path.js';
import { isFerryError } from '../../errors.js';
import type { CheckLog } from '../check-log.js';
import {
  checkListed,
  indexText,
  namesOf,
  sortLayers,
  type PackageSubject,
  type SortedLayers,
} from './package-artifact.js';

const OWN_ANNOTATIONS: ReadonlySet<string> = new Set([
  SCHEMA_ANNOTATION,
  NAME_ANNOTATION,
  VERSION_ANNOTATION,
  BUILD_ANNOTATION,
]);
const CONDA_PREFIX = 'org.conda.';
const CONDA_MEDIA_TYPE = 'application/vnd.conda.';

/** Judges a package artifact of schema v1. */
export function checkPackageV1(subject: PackageSubject, log: CheckLog): void {
  const layers = sortLayers(subject.manifest);
  checkLayers(subject, layers, log);
  checkAnnotations(subject, log);
  checkPlace(subject, log);
  checkListed(subject, layers, 'v1/N1', log);
  checkTwins(subject, layers, log);
}

function checkLayers({ where, manifest, index }: PackageSubject, layers: SortedLayers, log: CheckLog): void {
  log.expect('v1/P1', layers.packages.length === 1, () => ({
    where,
    found:
      layers.packages.length === 0
        ? 'no package layer'
        : `package layers ${namesOf(layers.packages.map(({ descriptor }) => descriptor))}`,
    expected: 'exactly one layer of type `application/vnd.conda.package.v2` or `…package.v1`',
  }));
  log.expect('v1/P3', layers.info.length > 0, () => ({
    where,
    found: 'no info layer',
    expected: 'a layer of type `application/vnd.conda.info.v1.tar+gzip`',
    hint: 'push the archive again; info and index are made out of it',
  }));
  log.expect('v1/P4', layers.index.length > 0, () => ({
    where,
    found: 'no index layer',
    expected: 'a layer of type `application/vnd.conda.info.index.v1+json`',
    hint: 'push the archive again; info and index are made out of it',
  }));
  if (index !== undefined) {
    log.expect('v1/P4', !('unreadable' in index), () => ({
      where,
      found: 'unreadable' in index ? String(index.unreadable) : '',
      expected: "the package's `info/index.json`",
    }));
  }
  const extra = [...layers.info.slice(1), ...layers.index.slice(1), ...layers.others];
  log.expect('v1/P5', extra.length === 0, () => ({
    where,
    found: `${String(manifest.layers.length)} layers, with ${namesOf(extra)} besides`,
    expected: 'three layers: package, info and index',
    hint: 'attach what else belongs to the package as a referrer',
  }));
  const unknown = layers.others.filter(({ mediaType }) => mediaType.startsWith(CONDA_MEDIA_TYPE));
  log.expect('v1/M1', unknown.length === 0, () => ({
    where,
    found: `the media type ${namesOf(unknown)}`,
    expected: 'a media type that the draft lists',
  }));
  for (const layer of manifest.layers) {
    const keys = Object.keys(layer.annotations ?? {}).filter((key) => key.startsWith(CONDA_PREFIX));
    log.expect('v1/P8', keys.length === 0, () => ({
      where,
      found: `${keys.map((key) => `\`${shorten(key)}\``).join(', ')} on a layer`,
      expected: 'no `org.conda.*` there: whether the draft allows it is not clear',
    }));
  }
}

function checkAnnotations({ where, manifest, index }: PackageSubject, log: CheckLog): void {
  const annotations = manifest.annotations ?? {};
  checkSchemaMark(where, annotations, 'v1/A1', log);
  for (const [clause, key, field] of [
    ['v1/A2', NAME_ANNOTATION, 'name'],
    ['v1/A3', VERSION_ANNOTATION, 'version'],
    ['v1/A4', BUILD_ANNOTATION, 'build'],
  ] as const) {
    const said = annotations[key];
    const expected = indexText(index, field);
    log.expect(clause, said !== undefined && (expected === undefined || said === expected), () => ({
      where,
      found: said === undefined ? `no annotation \`${key}\`` : `\`${key}\` is \`${shorten(said)}\``,
      expected:
        expected === undefined
          ? `the package's ${field}`
          : `\`${shorten(expected)}\`, as \`info/index.json\` says`,
    }));
  }
  const others = Object.keys(annotations).filter(
    (key) => key.startsWith(CONDA_PREFIX) && !OWN_ANNOTATIONS.has(key),
  );
  log.expect('v1/A5', others.length === 0, () => ({
    where,
    found: others.map((key) => `\`${shorten(key)}\``).join(', '),
    expected: 'no annotation below `org.conda.` but the four of the draft',
    hint: 'use a name space of your own',
  }));
}

/** The mark of the schema, on packages and metadata alike. */
export function checkSchemaMark(
  where: string,
  annotations: Readonly<Record<string, string>>,
  clause: 'v1/A1' | 'v1/R7',
  log: CheckLog,
): void {
  const mark = annotations[SCHEMA_ANNOTATION];
  log.expect(clause, mark === '1', () => ({
    where,
    found:
      mark === undefined
        ? `no annotation \`${SCHEMA_ANNOTATION}\``
        : `\`${SCHEMA_ANNOTATION}\` is \`${shorten(mark)}\``,
    expected: '`1`',
  }));
}

/** Repository and tag against the annotations: what is hashed can be told only by them. */
function checkPlace(subject: PackageSubject, log: CheckLog): void {
  const { where, leaf, tag, manifest, index, subdir } = subject;
  const name = manifest.annotations?.[NAME_ANNOTATION];
  const isLeafHashed = isHashed(leaf);
  if (name !== undefined) {
    if (isLeafHashed) {
      log.expect('v1/S3', leaf === hashOf(`c${name}`), () => ({
        where,
        found: `the repository of another name than \`${shorten(name)}\``,
        expected: `\`${hashOf(`c${name}`)}\``,
      }));
    } else {
      log.expect('v1/S2', leaf === `c${name}`, () => ({
        where,
        found: `the package \`${shorten(name)}\` in the repository \`${leaf}\``,
        expected: `\`${shorten(`c${name}`)}\``,
      }));
    }
  }
  const indexSubdir = indexText(index, 'subdir');
  if (indexSubdir !== undefined) {
    log.expect('v1/N1', indexSubdir === subdir, () => ({
      where,
      found: `a package of \`${shorten(indexSubdir)}\` below \`${subdir}\``,
      expected: 'the subdir that `info/index.json` names',
    }));
  }
  if (tag === undefined) return;
  const areAlike = log.expect('v1/T5', isLeafHashed === isHashed(tag), () => ({
    where,
    found: isLeafHashed ? 'a hashed repository with a plain tag' : 'a plain repository with a hashed tag',
    expected: 'both hashed or neither',
  }));
  if (!areAlike) return;
  if (isLeafHashed) checkHashedTag(subject, tag, log);
  else checkPlainTag(subject, tag, log);
}

function checkHashedTag({ where, manifest }: PackageSubject, tag: string, log: CheckLog): void {
  const version = manifest.annotations?.[VERSION_ANNOTATION];
  const build = manifest.annotations?.[BUILD_ANNOTATION];
  if (version === undefined || build === undefined) return;
  const expected = hashOf(`${encodeTagPart(version)}-${encodeTagPart(build)}`);
  log.expect('v1/T4', tag === expected, () => ({
    where,
    found: `the tag of another build than \`${shorten(`${version}-${build}`)}\``,
    expected: `\`${expected}\``,
  }));
}

function checkPlainTag({ where, leaf, manifest }: PackageSubject, tag: string, log: CheckLog): void {
  log.expect('v1/N3', leaf.length <= 64, () => ({
    where,
    found: `a repository name of ${String(leaf.length)} characters`,
    expected: `\`${hashOf(leaf)}\`: more than 64 are hashed`,
  }));
  const parts = tag.split('-');
  const isPair = log.expect('v1/T3', parts.length === 2, () => ({
    where,
    found: `a tag with ${String(parts.length - 1)} dashes`,
    expected: 'one dash, between version and build string',
  }));
  if (!isPair) return;
  let decoded: readonly string[];
  try {
    decoded = parts.map(decodeTagPart);
  } catch (error) {
    if (!isFerryError(error, 'NAME_UNREPRESENTABLE')) throw error;
    log.report('v1/T1', {
      where,
      found: error.message,
      expected: '`__` for `_`, `_P` for `+`, `_N` for `!`',
    });
    return;
  }
  log.expect('v1/T1', true, () => ({ where, found: '', expected: '' }));
  for (const [key, value] of [
    [VERSION_ANNOTATION, decoded[0]],
    [BUILD_ANNOTATION, decoded[1]],
  ] as const) {
    const said = manifest.annotations?.[key];
    if (said === undefined) continue;
    log.expect('v1/T6', said === value, () => ({
      where,
      found: `\`${key}\` is \`${shorten(said)}\``,
      expected: `\`${String(value)}\`, as the tag says`,
    }));
  }
}

/** Of two formats the artifact holds the newer. */
function checkTwins({ where, listed }: PackageSubject, { packages }: SortedLayers, log: CheckLog): void {
  const extensions = new Set(listed?.map(({ extension }) => extension));
  if (extensions.size < 2) return;
  log.expect(
    'v1/P6',
    packages.every(({ extension }) => extension === 'conda'),
    () => ({
      where,
      found: 'the `.tar.bz2`, where repodata lists both formats',
      expected: 'the `.conda`',
    }),
  );
}
