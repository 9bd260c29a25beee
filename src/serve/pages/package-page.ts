import type { FerryError } from '../../errors.js';
import { escapeMarkup } from '../../io/escape-markup.js';
import { count, formatBytes } from '../../io/figures.js';
import { unbroken } from '../../io/html.js';
import type { ServedChannel } from '../channels/served-channel.js';
import { archiveFacts, sortArchives, hintsOf, listedArchive, type ListedArchive } from './archive-facts.js';
import { readChannelState, readListings, type ChannelState } from './channel-state.js';
import { installCommands } from './commands.js';
import { absentPage, failedPage, gaps, waitingPage } from './notices.js';
import {
  archiveHref,
  channelTitle,
  code,
  cutPage,
  downloadHref,
  facts,
  link,
  moment,
  packageHref,
  pager,
  type Page,
  type PageRequest,
  type Step,
} from './page.js';

/** Archives on one page; all that is known of each is on it. */
const ARCHIVES_PER_PAGE = 60;
const MAX_REMOVED = 200;

/** Where the artifact of an archive stands; `undefined` where the channel is in no registry. */
export type DescribeArtifact = (
  channel: ServedChannel,
  subdir: string,
  filename: string,
) => string | undefined;

/** All that a channel says of one package. */
export interface ReadPackage {
  readonly state: ChannelState;
  readonly archives: readonly ListedArchive[];
  /** What is gone from the index on purpose. */
  readonly removed: readonly { readonly subdir: string; readonly filename: string }[];
}

/**
 * Reads what a channel says of a package.
 * @returns the page to show instead, where that is nothing
 */
export async function readPackage(
  request: PageRequest,
  channel: ServedChannel,
  name: string,
  trail: readonly Step[],
): Promise<ReadPackage | Page> {
  const { signal } = request;
  const title = channelTitle(channel);
  const state = await readChannelState(channel, signal);
  const listings = state === undefined ? [] : await readListings(state, name, signal);
  if (state === undefined || listings.length === 0) {
    // What is not listed may yet come with the subdirs that are not known.
    if (state === undefined || state.subdirs.some(({ kind }) => kind === 'waiting'))
      return waitingPage(title, trail);
    const error = state.subdirs.flatMap((subdir): readonly FerryError[] =>
      subdir.kind === 'failed' ? [subdir.error] : [],
    )[0];
    if (error !== undefined) return failedPage(title, error, trail);
    return absentPage(`${title} lists no package ${name}.`, trail);
  }
  const archives = listings.flatMap(({ subdir, listing }) =>
    listing.records.map((record) => listedArchive(subdir, record)),
  );
  const removed = listings.flatMap(({ subdir, listing }) =>
    listing.removed.map((filename) => ({ subdir, filename })),
  );
  return { state, archives, removed };
}

/** The page of a package: its versions, newest first, and of each its builds with all that their records say. */
export async function packagePage(
  request: PageRequest,
  channel: ServedChannel,
  name: string,
  {
    trail,
    describeArtifact,
  }: { readonly trail: readonly Step[]; readonly describeArtifact: DescribeArtifact },
): Promise<Page> {
  const read = await readPackage(request, channel, name, trail);
  if ('main' in read) return read;
  const { state, removed } = read;
  const archives = sortArchives(read.archives);
  const newest = archives[0]?.details;
  const versions = new Set(archives.map(({ details }) => details.version));
  const subdirs = new Set(archives.map(({ subdir }) => subdir));
  // One by one: no call takes as many arguments as a listing may have archives.
  const latest = archives.reduce(
    (last, { details }) => Math.max(last, details.timestampMs ?? last),
    -Infinity,
  );
  const { items, page, pages } = cutPage(archives, ARCHIVES_PER_PAGE, request.query);
  const title = `${name} in ${channelTitle(channel)}`;
  return {
    title,
    trail,
    main: [
      `<h1>${escapeMarkup(name)}</h1>`,
      ...gaps(state.subdirs),
      ...facts([
        ['Newest version', code(newest?.version)],
        ['License', escapeMarkup(newest?.license ?? '')],
        ['Listed', `${unbroken(count(archives.length, 'archive'))} in ${count(versions.size, 'version')}`],
        ['Subdirs', [...subdirs].map(code).join(', ')],
        ['Last built', moment(latest)],
      ]),
      ...(newest === undefined ? [] : ['<h2>Install</h2>', ...installCommands(request, channel, { name })]),
      ...(items.length === 0 ? [] : ['<h2>Versions</h2>']),
      ...byVersion(items).flatMap(([version, builds]) => [
        `<h3>${code(version)}</h3>`,
        '<ul class="builds">',
        ...builds.flatMap((archive) =>
          build(
            request,
            channel,
            state,
            archive,
            describeArtifact(channel, archive.subdir, archive.filename),
          ),
        ),
        '</ul>',
      ]),
      ...pager(page, pages, (wanted) => packageHref(request, channel, name, { page: String(wanted) })),
      ...removedList(request, channel, name, removed),
    ],
  };
}

function byVersion(archives: readonly ListedArchive[]): readonly (readonly [string, ListedArchive[]])[] {
  const groups = new Map<string, ListedArchive[]>();
  for (const archive of archives) {
    const group = groups.get(archive.details.version);
    if (group === undefined) groups.set(archive.details.version, [archive]);
    else group.push(archive);
  }
  return [...groups];
}

function build(
  request: PageRequest,
  channel: ServedChannel,
  { names }: ChannelState,
  archive: ListedArchive,
  artifact: string | undefined,
): readonly string[] {
  const { details, subdir, filename } = archive;
  const hints = hintsOf(archive).map((hint) => `<span class="tag">${escapeMarkup(hint)}</span>`);
  const size = details.size === undefined ? '' : unbroken(formatBytes(details.size));
  return [
    '<li><details>',
    '<summary>',
    `<span class="file">${code(filename)}</span>`,
    `<span class="of">${escapeMarkup(subdir)}</span> <span class="of">${size}</span> <span class="of">${moment(details.timestampMs)}</span> ${hints.join(' ')}`,
    '</summary>',
    ...actions(request, channel, archive, true),
    ...archiveFacts(request, channel, names, archive, artifact),
    '</details></li>',
  ];
}

/** Links to an archive, and to its page where that is another one. */
export function actions(
  request: PageRequest,
  channel: ServedChannel,
  { details, subdir, filename }: ListedArchive,
  withPage: boolean,
): readonly string[] {
  const page = archiveHref(request, channel, details.name, subdir, filename);
  // Else there would be as many links of one name as there are archives.
  const of = ` aria-label="Files and metadata of ${escapeMarkup(filename)}"`;
  const links = [
    link(downloadHref(request, channel, subdir, filename), `Download ${code(filename)}`, ' download'),
    ...(withPage && page !== undefined ? [link(page, 'Files and metadata', of)] : []),
  ];
  return [`<p class="actions">${links.join(' ')}</p>`];
}

function removedList(
  request: PageRequest,
  channel: ServedChannel,
  name: string,
  removed: ReadPackage['removed'],
): readonly string[] {
  if (removed.length === 0) return [];
  const rest = removed.length - MAX_REMOVED;
  return [
    '<h2>No longer listed</h2>',
    '<p>These were yanked or removed: clients do not see them any more. Those that are still stored can be fetched by their name.</p>',
    '<ul>',
    ...removed
      .slice(0, MAX_REMOVED)
      .map(
        ({ subdir, filename }) =>
          `<li>${link(archiveHref(request, channel, name, subdir, filename), code(`${subdir}/${filename}`))}</li>`,
      ),
    '</ul>',
    ...(rest > 0 ? [`<p class="rest">and ${unbroken(count(rest, 'more archive'))}</p>`] : []),
  ];
}
