import { shorten } from '../../conda/archive/member-path.js';
import { isFerryError } from '../../errors.js';
import { SCHEMA_ANNOTATION } from '../../artifact/schema-v1.js';
import type { PackagePlace } from '../../artifact/schema.js';
import type { CheckLog } from '../check-log.js';
import {
  checkListed,
  indexText,
  namesOf,
  sortLayers,
  type PackageSubject,
  type SortedLayers,
} from './package-artifact.js';

/** Judges a package artifact of schema v0, as it is deployed. */
export function checkPackageV0(subject: PackageSubject, log: CheckLog): void {
  const layers = sortLayers(subject.manifest);
  checkLayers(subject, layers, log);
  checkPlace(subject, log);
  checkListed(subject, layers, { absent: 'v0/D1', type: 'v0/D4' }, log);
}

function checkLayers({ where, manifest, index }: PackageSubject, layers: SortedLayers, log: CheckLog): void {
  log.expect('v0/D4', layers.packages.length > 0, () => ({
    where,
    found: manifest.layers.length === 0 ? 'no layers' : `only ${namesOf(manifest.layers)}`,
    expected: 'a layer of type `application/vnd.conda.package.v2` or `…package.v1`',
  }));
  const absent = [
    ...(layers.info.length === 0 ? ['no info layer'] : []),
    ...(layers.index.length === 0 ? ['no index layer'] : []),
  ];
  // An artifact without any layer lacks more than these.
  log.expect('v0/D5', absent.length === 0 || manifest.layers.length === 0, () => ({
    where,
    found: absent.join(', '),
    expected: 'info and index beside the archive, so that clients need not read it for them',
  }));
  if (index !== undefined) {
    log.expect('v0/D5', !('unreadable' in index), () => ({
      where,
      found: 'unreadable' in index ? index.unreadable : '',
      expected: "the package's `info/index.json`",
    }));
  }
  const known = manifest.layers.filter((layer) => !layers.others.includes(layer));
  const double = known.find(
    ({ mediaType }, i) => known.findIndex((layer) => layer.mediaType === mediaType) !== i,
  );
  log.expect('v0/D6', double === undefined, () => ({
    where,
    found: `several layers of type \`${double?.mediaType ?? ''}\``,
    expected: 'one layer of each media type',
  }));
  // Of an artifact without an archive all layers were named above.
  log.expect('v0/X11', layers.others.length === 0 || layers.packages.length === 0, () => ({
    where,
    found: `a layer of type ${namesOf(layers.others)}`,
    expected: 'package, info and index alone',
    hint: 'readers pass over it; older mirrors left such layers behind',
  }));
}

/** Repository and tag against `info/index.json`. */
function checkPlace(subject: PackageSubject, log: CheckLog): void {
  const { schema, where, subdir, leaf, tag, index, manifest } = subject;
  const name = indexText(index, 'name');
  const version = indexText(index, 'version');
  const build = indexText(index, 'build');
  const indexSubdir = indexText(index, 'subdir');
  if (indexSubdir !== undefined) {
    log.expect('v0/D1', indexSubdir === subdir, () => ({
      where,
      found: `a package of \`${shorten(indexSubdir)}\` below \`${subdir}\``,
      expected: 'the subdir that `info/index.json` names',
    }));
  }
  if (name === undefined || version === undefined || build === undefined) return;
  let place: PackagePlace;
  try {
    place = schema.placeOf({ name, version, build });
  } catch (error) {
    if (!isFerryError(error, 'NAME_UNREPRESENTABLE')) throw error;
    log.report('v0/D1', { where, found: error.message, expected: 'a package that the schema can hold' });
    return;
  }
  const isUnderscore = name.startsWith('_') || leaf.startsWith('zzz_');
  log.expect(isUnderscore ? 'v0/D2' : 'v0/D1', leaf === place.repository, () => ({
    where,
    found: `the package \`${shorten(name)}\` in the repository \`${leaf}\``,
    expected: `\`${place.repository}\``,
    hint:
      manifest.annotations?.[SCHEMA_ANNOTATION] === '1'
        ? 'it is marked as schema v1: check it as that'
        : undefined,
  }));
  if (tag === undefined) return;
  log.expect('v0/D3', tag === place.tag, () => ({
    where,
    found: `version \`${shorten(version)}\` and build string \`${shorten(build)}\` in \`info/index.json\``,
    expected: `the tag \`${place.tag}\``,
  }));
}
