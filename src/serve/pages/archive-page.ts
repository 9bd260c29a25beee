import { escapeMarkup } from '../../io/escape-markup.js';
import { count, formatBytes } from '../../io/figures.js';
import { isFerryError } from '../../errors.js';
import { unbroken } from '../../io/html.js';
import type { ServedChannel } from '../channels/served-channel.js';
import { archiveFacts, specList, type ListedArchive } from './archive-facts.js';
import type { PackageNames } from './channel-state.js';
import { installCommands } from './commands.js';
import {
  filesIn,
  objectIn,
  recipeIn,
  runExportsIn,
  textsOf,
  webAddress,
  type PackageFile,
} from './info-documents.js';
import { absentPage, gaps } from './notices.js';
import { actions, readPackage, type DescribeArtifact } from './package-page.js';
import {
  block,
  channelTitle,
  code,
  facts,
  link,
  number,
  table,
  type Page,
  type PageRequest,
  type Step,
} from './page.js';
import type { ReadInfoOptions, ShownInfo } from './read-info.js';

/** Reads what a page shows of an archive's `info/`; `undefined` where it is not to be had. */
export type ReadShownInfo = (
  channel: ServedChannel,
  subdir: string,
  filename: string,
  options: ReadInfoOptions,
) => Promise<ShownInfo | undefined>;

/** What the page of an archive is made with. */
export interface ArchivePageOptions {
  readonly trail: readonly Step[];
  readonly readInfo: ReadShownInfo;
  readonly describeArtifact: DescribeArtifact;
}

/** Files of a package that are listed; the largest packages have 100,000. */
const MAX_FILES = 1000;

const FILE_COLUMNS = [
  { head: 'Path' },
  { head: 'Type', look: 'whole' },
  { head: 'Size', look: 'number' },
  { head: 'sha256', look: 'digest wide' },
] as const;

/** Fields of `about.json` that are shown, with what they are called. @see CEP 34 */
const ABOUT_FIELDS = [
  ['home', 'Home'],
  ['doc_url', 'Documentation'],
  ['dev_url', 'Development'],
  ['source_url', 'Sources'],
  ['license_url', 'License text'],
] as const;

/** The page of one archive: what its record says, and what is in its `info/`. */
export async function archivePage(
  request: PageRequest,
  channel: ServedChannel,
  { name, subdir, filename }: { readonly name: string; readonly subdir: string; readonly filename: string },
  { trail, readInfo, describeArtifact }: ArchivePageOptions,
): Promise<Page> {
  const read = await readPackage(request, channel, name, trail);
  if ('main' in read) return read;
  const { state, archives, removed } = read;
  const archive = archives.find((listed) => listed.subdir === subdir && listed.filename === filename);
  const isRemoved = removed.some((gone) => gone.subdir === subdir && gone.filename === filename);
  const title = `${filename} in ${channelTitle(channel)}, ${subdir}`;
  if (archive === undefined) {
    if (!isRemoved)
      return absentPage(`${channelTitle(channel)} lists no archive ${filename} in ${subdir}.`, trail);
    return { title, trail, main: [`<h1>${code(filename)}</h1>`, ...goneNotice(subdir)] };
  }
  const { details, document } = archive;
  const info = await readInfo(channel, subdir, filename, {
    signal: request.signal,
    sha256: details.sha256,
  }).catch((error: unknown) => {
    if (!isFerryError(error)) throw error;
    return error;
  });
  const shown = isFerryError(info) ? undefined : info;
  const why = isFerryError(info) ? ` (${code(info.code)})` : '';
  const { version, build } = details;
  return {
    title,
    trail,
    main: [
      `<h1>${code(filename)}</h1>`,
      ...gaps(state.subdirs),
      ...(isRemoved ? goneNotice(subdir) : []),
      ...(shown === undefined ? [] : summary(shown)),
      ...actions(request, channel, archive, false),
      '<h2>Install exactly this</h2>',
      ...installCommands(request, channel, { name, version, build }),
      '<h2>Record</h2>',
      ...archiveFacts(request, channel, state.names, archive, describeArtifact(channel, subdir, filename)),
      ...(shown === undefined
        ? [`<h2>Contents</h2>`, `<p>What is inside the archive is not available here${why}.</p>`]
        : contents(request, channel, state.names, archive, shown)),
      ...documents(document, shown),
    ],
  };
}

function goneNotice(subdir: string): readonly string[] {
  return [
    `<p class="notice partly">No longer listed in ${code(subdir)}: yanked or removed. Clients do not see it any more.</p>`,
  ];
}

function summary(info: ShownInfo): readonly string[] {
  const [text] = textsOf(objectIn(info, 'about.json')?.['summary']);
  return text === undefined ? [] : [`<p class="summary">${escapeMarkup(text.trim())}</p>`];
}

function contents(
  request: PageRequest,
  channel: ServedChannel,
  names: PackageNames,
  archive: ListedArchive,
  info: ShownInfo,
): readonly string[] {
  const about = objectIn(info, 'about.json') ?? {};
  const extra = about['extra'];
  const maintainers =
    typeof extra === 'object' && extra !== null && 'recipe-maintainers' in extra
      ? textsOf(extra['recipe-maintainers'])
      : [];
  const license = textsOf(about['license'])[0];
  const rows = facts([
    ...ABOUT_FIELDS.map(
      ([key, title]) => [title, textsOf(about[key]).slice(0, 20).map(webLink).join('<br>')] as const,
    ),
    ['License', license === undefined || license === archive.details.license ? '' : escapeMarkup(license)],
    ['Maintainers', maintainers.slice(0, 50).map(escapeMarkup).join(', ')],
  ]);
  const description = textsOf(about['description'])[0];
  const runExports = runExportsIn(info);
  return [
    ...(rows.length === 0 && description === undefined ? [] : ['<h2>About</h2>']),
    ...rows,
    ...(description === undefined
      ? []
      : ['<details>', '<summary>Description</summary>', ...block(description.trim()), '</details>']),
    ...(runExports.length === 0
      ? []
      : [
          '<h2>Run exports</h2>',
          '<p class="dim">What packages depend on that are built against this one.</p>',
          ...facts(
            runExports.map(([kind, specs]) => [escapeMarkup(kind), specList(request, channel, names, specs)]),
          ),
        ]),
    ...fileSection(filesIn(info)),
  ];
}

function webLink(text: string): string {
  return link(webAddress(text), escapeMarkup(text), ' rel="noopener nofollow noreferrer"');
}

function fileSection(files: readonly PackageFile[] | undefined): readonly string[] {
  if (files === undefined) {
    const why = 'The archive does not tell which files it has, or has too many to be shown here.';
    return ['<h2>Files</h2>', `<p>${why}</p>`];
  }
  const rest = files.length - MAX_FILES;
  const bytes = files.reduce((sum, { size }) => sum + (size ?? 0), 0);
  const rows = files.slice(0, MAX_FILES).map(({ path, type, size, sha256 }) => {
    const words = size === undefined ? '' : unbroken(formatBytes(size));
    return [code(path), escapeMarkup(type ?? ''), words, code(sha256)];
  });
  const unpacked = bytes === 0 ? '' : `, ${unbroken(formatBytes(bytes))} unpacked`;
  const caption = `${unbroken(count(files.length, 'file'))}${unpacked}`;
  return [
    '<h2>Files</h2>',
    ...(rows.length === 0 ? ['<p>None.</p>'] : table(caption, FILE_COLUMNS, rows, 'files')),
    ...(rest > 0 ? [`<p class="rest">and ${number(rest)} more</p>`] : []),
  ];
}

/** Documents as they are, closed at first. */
function documents(
  record: Readonly<Record<string, unknown>>,
  info: ShownInfo | undefined,
): readonly string[] {
  const index = info && objectIn(info, 'index.json');
  const recipe = info && recipeIn(info);
  const all = [
    { title: 'Repodata record', text: JSON.stringify(record, undefined, 2) },
    ...(index === undefined ? [] : [{ title: 'index.json', text: JSON.stringify(index, undefined, 2) }]),
    ...(recipe === undefined ? [] : [{ title: recipe.path, text: recipe.text }]),
  ];
  return [
    '<h2>Documents</h2>',
    ...all.flatMap(({ title, text }) => [
      '<details>',
      `<summary>${code(title)}</summary>`,
      ...block(text),
      '</details>',
    ]),
  ];
}
