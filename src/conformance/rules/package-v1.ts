import {
  BUILD_ANNOTATION,
  NAME_ANNOTATION,
  SCHEMA_ANNOTATION,
  VERSION_ANNOTATION,
} from '../../artifact/schema-v1.js';
import { shorten } from '../../conda/archive/member-path.js';
import type { CheckLog } from '../check-log.js';
import {
  checkListed,
  namesOf,
  sortLayers,
  type PackageSubject,
  type SortedLayers,
} from './package-artifact.js';
import { checkIdentity } from './package-identity-v1.js';

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
  checkIdentity(subject, log);
  if (checkTwins(subject, layers, log)) checkListed(subject, layers, { absent: 'v1/N1', type: 'v1/P2' }, log);
}

function checkLayers({ where, manifest, index }: PackageSubject, layers: SortedLayers, log: CheckLog): void {
  const unknown = layers.others.filter(({ mediaType }) => mediaType.startsWith(CONDA_MEDIA_TYPE));
  // Among three layers it is one of the three under a wrong name, and not one too many.
  const isMisnamed = unknown.length > 0 && manifest.layers.length <= 3;
  log.expect('v1/M1', !isMisnamed, () => ({
    where,
    found: `the media type ${namesOf(unknown)}`,
    expected: 'a media type that the draft lists',
  }));
  const hasPackage = layers.packages.length === 1 || (isMisnamed && layers.packages.length === 0);
  log.expect('v1/P1', hasPackage, () => ({
    where,
    found:
      layers.packages.length === 0
        ? 'no package layer'
        : `package layers ${namesOf(layers.packages.map(({ descriptor }) => descriptor))}`,
    expected: 'exactly one layer of type `application/vnd.conda.package.v2` or `…package.v1`',
  }));
  // An artifact without any layer lacks more than these.
  const isLenient = isMisnamed || manifest.layers.length === 0;
  log.expect('v1/P3', layers.info.length > 0 || isLenient, () => ({
    where,
    found: 'no info layer',
    expected: 'a layer of type `application/vnd.conda.info.v1.tar+gzip`',
    hint: 'push the archive again; info and index are made out of it',
  }));
  log.expect('v1/P4', layers.index.length > 0 || isLenient, () => ({
    where,
    found: 'no index layer',
    expected: 'a layer of type `application/vnd.conda.info.index.v1+json`',
    hint: 'push the archive again; info and index are made out of it',
  }));
  if (index !== undefined) {
    log.expect('v1/P4', !('unreadable' in index), () => ({
      where,
      found: 'unreadable' in index ? `an index layer that cannot be read: ${index.unreadable}` : '',
      expected: "the package's `info/index.json`",
    }));
  }
  const others = isMisnamed ? layers.others.filter((layer) => !unknown.includes(layer)) : layers.others;
  const extra = [...layers.info.slice(1), ...layers.index.slice(1), ...others];
  log.expect('v1/P5', extra.length === 0, () => ({
    where,
    found: `${String(manifest.layers.length)} layers, with ${namesOf(extra)} besides`,
    expected: 'three layers: package, info and index',
    hint: 'attach what else belongs to the package as a referrer',
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

function checkAnnotations({ where, manifest }: PackageSubject, log: CheckLog): void {
  const annotations = manifest.annotations ?? {};
  checkSchemaMark(where, annotations, 'v1/A1', log);
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

/** Of two formats the artifact holds the newer. @returns whether it does */
function checkTwins({ where, listed }: PackageSubject, { packages }: SortedLayers, log: CheckLog): boolean {
  const extensions = new Set(listed?.map(({ extension }) => extension));
  if (extensions.size < 2) return true;
  return log.expect(
    'v1/P6',
    packages.every(({ extension }) => extension === 'conda'),
    () => ({
      where,
      found: 'the `.tar.bz2`, where repodata lists both formats',
      expected: 'the `.conda`',
    }),
  );
}
