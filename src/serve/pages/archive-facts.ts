/** What a record says of its archive. */
import { packageMediaType } from '../../artifact/media-types.js';
import { compareVersions } from '../../conda/version-order.js';
import { withDetails, type RecordDetails } from '../../conda/record-details.js';
import { compareText } from '../../io/compare-text.js';
import { escapeMarkup } from '../../io/escape-markup.js';
import { formatBytes } from '../../io/figures.js';
import { unbroken } from '../../io/html.js';
import { isVirtual } from '../../mirror/filters/dependency-graph.js';
import { pythonVariantOf } from '../../mirror/filters/python-variant.js';
import { nameAskedFor } from '../../mirror/filters/spec-list.js';
import type { NamedRecord, ServedChannel } from '../channels/served-channel.js';
import type { PackageNames } from './channel-state.js';
import { code, facts, link, moment, number, packageHref, type PageRequest } from './page.js';

/** An archive as a subdir lists it. */
export interface ListedArchive extends NamedRecord {
  readonly subdir: string;
  readonly details: RecordDetails;
}

/** Match specs of one list that are shown; no real package has as many. */
const MAX_SPECS = 300;

/** What a package that was revoked depends on, so that no solver takes it. */
const REVOKED = 'package_has_been_revoked';

/** Adds to a record what pages tell of it. */
export function listedArchive(subdir: string, named: NamedRecord): ListedArchive {
  return { ...named, subdir, details: withDetails(named.record, named.document) };
}

/** Sorts archives: newest version first; of one version the latest build first. */
export function sortArchives(archives: readonly ListedArchive[]): readonly ListedArchive[] {
  // Each version is compared once, not each archive: to compare versions is what takes time.
  const versions = [...new Set(archives.map(({ details }) => details.version))];
  // Several texts may be one version.
  versions.sort((a, b) => compareVersions(b, a) || compareText(b, a));
  const ranks = new Map(versions.map((version, rank) => [version, rank]));
  const rankOf = ({ details }: ListedArchive): number => ranks.get(details.version) ?? 0;
  return [...archives].sort(
    (a, b) =>
      rankOf(a) - rankOf(b) ||
      b.details.buildNumber - a.details.buildNumber ||
      (b.details.timestampMs ?? 0) - (a.details.timestampMs ?? 0) ||
      compareText(a.subdir, b.subdir) ||
      compareText(a.filename, b.filename),
  );
}

/** What a build is for, in a few words: `Python 3.12`, `any Python`, `blas_openblas`. As text. */
export function hintsOf({ details, document }: ListedArchive): readonly string[] {
  const { noarch, trackFeatures, flags, depends } = details;
  const python = pythonVariantOf(details);
  const isRevoked = document['revoked'] === true || depends.some((spec) => nameAskedFor(spec) === REVOKED);
  return [
    ...(isRevoked ? ['revoked'] : []),
    ...(noarch === 'python' ? ['any Python'] : []),
    ...(python === '' || python === 'noarch' ? [] : [/^\d/.test(python) ? `Python ${python}` : python]),
    ...trackFeatures,
    ...flags,
  ];
}

/**
 * All that a record says, as HTML.
 * @param artifact where the artifact stands, if anywhere
 */
export function archiveFacts(
  request: PageRequest,
  channel: ServedChannel,
  names: PackageNames,
  archive: ListedArchive,
  artifact: string | undefined,
): readonly string[] {
  const { details, document, subdir } = archive;
  const { sha256, md5, size, license, licenseFamily, timestampMs, indexedTimestampMs } = details;
  const specs = (list: readonly string[]): string => specList(request, channel, names, list);
  const constrains: unknown = document['constrains'];
  const family = licenseFamily === undefined || licenseFamily === license ? '' : ` (${licenseFamily})`;
  return facts([
    ['Subdir', code(subdir)],
    ['Version', code(details.version)],
    ['Build', code(details.build)],
    ['Build number', number(details.buildNumber)],
    ['For', hintsOf(archive).map(escapeMarkup).join(', ')],
    ['Size', size === undefined ? '' : `${unbroken(formatBytes(size))} (${number(size)} bytes)`],
    ['Built', moment(timestampMs)],
    ['Listed since', moment(indexedTimestampMs)],
    ['License', escapeMarkup(`${license ?? ''}${family}`.trim())],
    ['Depends on', specs(details.depends)],
    [
      'Constrains',
      Array.isArray(constrains) ? specs(constrains.filter((spec) => typeof spec === 'string')) : '',
    ],
    ...Object.entries(details.extraDepends).map(
      ([group, list]) => [`With extra ${escapeMarkup(group)}`, specs(list)] as const,
    ),
    ['sha256', code(sha256)],
    ['md5', code(md5)],
    ['OCI digest', sha256 === undefined ? '' : code(`sha256:${sha256}`)],
    ['Media type', code(packageMediaType(details.extension))],
    ['Artifact', code(artifact)],
  ]);
}

/** Match specs; names that the channel has are links. */
export function specList(
  request: PageRequest,
  channel: ServedChannel,
  names: PackageNames,
  specs: readonly string[],
): string {
  if (specs.length === 0) return '';
  const items = specs
    .slice(0, MAX_SPECS)
    .map((spec) => `<li><code>${formatSpec(request, channel, names, spec)}</code></li>`);
  const rest = specs.length - items.length;
  const more = rest > 0 ? [`<li>and ${number(rest)} more</li>`] : [];
  return `<ul class="specs">${[...items, ...more].join('')}</ul>`;
}

function formatSpec(request: PageRequest, channel: ServedChannel, names: PackageNames, spec: string): string {
  const name = nameAskedFor(spec);
  if (name === undefined || isVirtual(name) || !names.has(name)) return escapeMarkup(spec);
  const href = packageHref(request, channel, name);
  // A channel may stand in front of the name.
  const isFirst = spec.slice(0, name.length).toLowerCase() === name;
  if (!isFirst) return link(href, escapeMarkup(spec));
  return `${link(href, escapeMarkup(spec.slice(0, name.length)))}${escapeMarkup(spec.slice(name.length))}`;
}
