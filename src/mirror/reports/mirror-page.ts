/** The page of a mirror: how it stands, and what its last runs did. */
import { escapeMarkup } from '../../io/escape-markup.js';
import { count, formatBytes, formatMoment, formatNumber, formatSeconds } from '../../io/figures.js';
import { formatPage, inlineCode, unbroken, verdictBanner } from '../../io/html.js';
import type { PackageTotal } from '../report.js';
import { drawBars, scaleOf, type Bar } from './bar-chart.js';
import {
  largestPackages,
  newestSubdirs,
  ongoingFailures,
  type OngoingFailure,
  type SubdirState,
} from './history.js';
import { MIRROR_PAGE_STYLE } from './mirror-page-style.js';
import type { Outcome, RunRecord } from './run-record.js';
import { describeState, secondsOf } from './run-state.js';
import { describeLeftOut, PUBLISHED_WORDS } from './words.js';

/** How {@link formatMirrorPage} writes. */
export interface MirrorPageOptions {
  readonly toolVersion?: string | undefined;
  /** Records that lie in the folder and are not shown. @defaultValue 0 */
  readonly olderRecords?: number | undefined;
}

/** Failures named on the page; the record has more. */
const MAX_FAILURES = 200;
const MAX_PACKAGES = 15;
const MAX_WARNINGS = 20;

const OUTCOME_WORDS: Readonly<Record<Outcome, string>> = {
  ok: 'complete',
  failures: 'archives failed',
  interrupted: 'interrupted',
  failed: 'failed',
};
const OUTCOME_LOOKS: Readonly<Record<Outcome, string>> = {
  ok: '',
  failures: 'warning',
  interrupted: 'warning',
  failed: 'error',
};

/**
 * Writes the page of a mirror as one HTML file, which loads nothing and runs nothing: state, subdirs, failures, bytes and
 * archives over time, largest packages, what is left out, all runs. Whatever names hold is shown, and nothing else.
 * @param records newest first
 */
export function formatMirrorPage(
  records: readonly [RunRecord, ...RunRecord[]],
  { toolVersion, olderRecords = 0 }: MirrorPageOptions = {},
): string {
  const [last] = records;
  const { look, headline, details } = describeState(records);
  const subdirs = newestSubdirs(records);
  return formatPage({
    title: `${headline}: ${last.source}`,
    style: MIRROR_PAGE_STYLE,
    main: [
      `<h1>Mirror of <code>${escapeMarkup(last.source)}</code></h1>`,
      ...verdictBanner(look, headline, details),
      ...facts(last),
      ...subdirSection(subdirs),
      ...failureSection(ongoingFailures(records)),
      ...chartSection(records),
      ...packageSection(last, records),
      ...absenceSection(subdirs),
      ...warningSection(last),
      ...runSection(records, olderRecords),
    ],
    toolVersion,
    madeAt: new Date(last.endedAt),
  });
}

function facts(last: RunRecord): readonly string[] {
  const { destination, schema, requests, totals } = last;
  const rows = [
    ['Destination', `<code>${escapeMarkup(destination)}</code>, schema ${escapeMarkup(schema)}`],
    ['Last run', `${moment(last.endedAt)}, took ${formatSeconds(secondsOf(last))}`],
    [
      'Requests',
      requests === undefined
        ? ''
        : `${formatNumber(requests.source)} to the source, ${formatNumber(requests.destination)} to the destination`,
    ],
    ['Left to do', totals.untried === 0 ? '' : `${count(totals.untried, 'artifact')} or more`],
  ] as const;
  const shown = rows.filter(([, value]) => value !== '');
  return [
    '<dl class="facts">',
    ...shown.map(([name, value]) => `<dt>${name}</dt><dd>${unbroken(value)}</dd>`),
    '</dl>',
  ];
}

function subdirSection(subdirs: readonly SubdirState[]): readonly string[] {
  if (subdirs.length === 0) return [];
  const rows = subdirs.map(({ record, subdir }) => {
    const { subdir: name, listed, added, addedBytes, failed, withheld, lagSeconds, publishedAs } = subdir;
    const look = failed === 0 ? '' : subdir.unknownFailures === 0 ? 'note' : 'error';
    return row(name, [
      cell('Listed', listed === undefined ? '' : formatNumber(listed), 'number'),
      cell('Added', formatNumber(added), added === 0 ? 'number none' : 'number'),
      cell('Size', added === 0 ? '' : formatBytes(addedBytes), 'number'),
      cell('Failed', formatNumber(failed), failed === 0 ? 'number none' : `number ${look}`),
      cell('Withheld', formatNumber(withheld), withheld === 0 ? 'number none' : 'number'),
      cell('Behind', lagWords(lagSeconds) ?? 'unknown'),
      cell('Repodata', PUBLISHED_WORDS[publishedAs]),
      cell('Run of', moment(record.endedAt), 'wide'),
    ]);
  });
  const heads = ['Listed', 'Added', 'Size', 'Failed', 'Withheld'].map(
    (title) => `<th scope="col" class="number">${title}</th>`,
  );
  return [
    '<h2>Subdirs</h2>',
    '<table class="cards">',
    `<thead><tr><th scope="col">Subdir</th>${heads.join('')}${['Behind', 'Repodata', 'Run of'].map(columnHead).join('')}</tr></thead>`,
    '<tbody>',
    ...rows,
    '</tbody>',
    '</table>',
  ];
}

function failureSection(failures: readonly OngoingFailure[]): readonly string[] {
  if (failures.length === 0) return [];
  const rows = failures
    .slice(0, MAX_FAILURES)
    .map(({ subdir, filename, code, message, runs, since, accepted }) => {
      const name = `<code>${escapeMarkup(`${subdir}/${filename}`)}</code>`;
      const known = accepted === true ? ' <span class="dim">known to fail</span>' : '';
      const look = accepted === true ? 'wide code note' : 'wide code error';
      return `<tr><th scope="row">${name}${known}</th>${[
        `<td class="${look}"><code>${escapeMarkup(code)}</code></td>`,
        `<td class="wide">${inlineCode(message)}</td>`,
        `<td class="wide">${count(runs, 'run')}, since ${moment(since)}</td>`,
      ].join('')}</tr>`;
    });
  const rest = failures.length - rows.length;
  return [
    '<h2>Failures</h2>',
    '<p class="dim">What the last run of each subdir could not mirror; it is tried again each time.</p>',
    '<table class="cards">',
    `<thead><tr>${['Archive', 'Code', 'Why', 'For'].map(columnHead).join('')}</tr></thead>`,
    '<tbody>',
    ...rows,
    '</tbody>',
    '</table>',
    ...(rest > 0 ? [`<p class="rest">and ${formatNumber(rest)} more, in <code>latest.json</code></p>`] : []),
  ];
}

function chartSection(records: readonly RunRecord[]): readonly string[] {
  const runs = records.toReversed();
  const oldest = runs[0];
  const newest = runs.at(-1);
  if (oldest === undefined || newest === undefined || runs.length < 2) return [];
  const chart = (
    id: string,
    name: string,
    of: (record: RunRecord) => number,
    format: (value: number) => string,
  ): readonly string[] => {
    const bars = runs.map((record): Bar => {
      const isMarked = record.outcome === 'failed';
      const { failed } = record.totals;
      const note =
        record.outcome === 'failures'
          ? `, ${formatNumber(failed)} failed`
          : record.outcome === 'ok'
            ? ''
            : `, ${OUTCOME_WORDS[record.outcome]}`;
      return {
        value: of(record),
        title: `${formatMoment(record.endedAt)}: ${format(of(record))}${note}`,
        isMarked,
      };
    });
    const values = runs.map(of);
    const sum = values.reduce((total, value) => total + value, 0);
    const largest = Math.max(...values);
    const { isCut } = scaleOf(values);
    const scale = `largest ${format(largest)}${isCut ? ' (cut)' : ''}`;
    return [
      '<figure>',
      `<figcaption><strong>${name}</strong><span class="dim">${unbroken(`${format(sum)} in all, ${scale}`)}</span></figcaption>`,
      ...drawBars({
        id,
        title: `${name} by run: ${format(sum)} in ${count(runs.length, 'run')}, ${scale}`,
        bars,
      }),
      `<div class="axis"><span>${moment(oldest.endedAt)}</span><span>${moment(newest.endedAt)}</span></div>`,
      '</figure>',
    ];
  };
  return [
    '<h2>Over time</h2>',
    ...chart('bytes-by-run', 'Bytes added', ({ totals }) => totals.addedBytes, formatBytes),
    ...chart(
      'archives-by-run',
      'Archives added',
      ({ totals }) => totals.added,
      (value) => count(value, 'archive'),
    ),
    ...(runs.some(({ outcome }) => outcome === 'failed')
      ? ['<p class="dim">Red: the run failed, and may have moved archives that it does not count.</p>']
      : []),
  ];
}

function packageSection(last: RunRecord, records: readonly RunRecord[]): readonly string[] {
  const all = largestPackages(records);
  if (all.length === 0) return [];
  const { packages: others } = last.otherPackages;
  return [
    '<h2>Largest packages</h2>',
    '<div class="columns">',
    ...packageTable('Added by the last run', last.packages, others),
    ...(records.length < 2 ? [] : packageTable(`Added by the last ${count(records.length, 'run')}`, all, 0)),
    '</div>',
  ];
}

function packageTable(title: string, packages: readonly PackageTotal[], others: number): readonly string[] {
  if (packages.length === 0) return [`<div><h3>${title}</h3><p class="dim">None.</p></div>`];
  const rest = packages.length + others - MAX_PACKAGES;
  return [
    `<div><h3>${title}</h3>`,
    '<table>',
    `<thead><tr><th scope="col">Package</th><th scope="col" class="number">Archives</th><th scope="col" class="number">Size</th></tr></thead>`,
    '<tbody>',
    ...packages
      .slice(0, MAX_PACKAGES)
      .map(
        ({ name, archives, bytes }) =>
          `<tr><th scope="row"><code>${escapeMarkup(name)}</code></th><td class="number">${formatNumber(archives)}</td><td class="number">${formatBytes(bytes)}</td></tr>`,
      ),
    '</tbody>',
    '</table>',
    ...(rest > 0 ? [`<p class="rest">and ${count(rest, 'package')} more</p>`] : []),
    '</div>',
  ];
}

/** What is not there although the source lists it, and what is there although it does not. */
function absenceSection(subdirs: readonly SubdirState[]): readonly string[] {
  const lines = subdirs.flatMap(({ subdir: { subdir, leftOut, withheld, withheldByCode, kept, gone } }) => {
    const reasons = Object.entries(leftOut)
      .filter(([, number]) => number > 0)
      .map(([why, number]) => `${formatNumber(number)} ${describeLeftOut(why)}`);
    const codes = Object.entries(withheldByCode).map(
      ([code, number]) => `${formatNumber(number)} \`${code}\``,
    );
    const parts = [
      ...(reasons.length === 0 ? [] : [`left out by filters: ${reasons.join(', ')}`]),
      ...(withheld === 0 ? [] : [`withheld, since the destination cannot hold them: ${codes.join(', ')}`]),
      ...(kept === 0 ? [] : [`stored, and no longer listed: ${formatNumber(kept)}`]),
      ...(gone === 0 ? [] : [`gone from the source: ${formatNumber(gone)}`]),
    ];
    return parts.length === 0
      ? []
      : [`<dt><code>${escapeMarkup(subdir)}</code></dt><dd>${unbroken(inlineCode(parts.join('; ')))}</dd>`];
  });
  return lines.length === 0 ? [] : ['<h2>Not listed</h2>', '<dl>', ...lines, '</dl>'];
}

function warningSection({ subdirs }: RunRecord): readonly string[] {
  const warnings = subdirs.flatMap((subdir) => subdir.warnings);
  if (warnings.length === 0) return [];
  const rest = warnings.length - MAX_WARNINGS;
  return [
    '<h2>Warnings of the last run</h2>',
    '<ul>',
    ...warnings.slice(0, MAX_WARNINGS).map((warning) => `<li>${inlineCode(warning)}</li>`),
    '</ul>',
    ...(rest > 0 ? [`<p class="rest">and ${formatNumber(rest)} more</p>`] : []),
  ];
}

function runSection(records: readonly RunRecord[], older: number): readonly string[] {
  const rows = records.map((record) => {
    const { outcome, endedAt, totals, requests, error, lagSeconds } = record;
    const isKnown = record.subdirs.length > 0;
    const why = error === undefined ? '' : ` <code>${escapeMarkup(error.code)}</code>`;
    const asked = requests === undefined ? '' : formatNumber(requests.source + requests.destination);
    return `<tr><th scope="row">${moment(endedAt)}</th>${[
      cell('', `${OUTCOME_WORDS[outcome]}${why}`, `wide ${OUTCOME_LOOKS[outcome]}`.trim()),
      cell('Took', formatSeconds(secondsOf(record)), 'number'),
      cell('Archives', isKnown ? formatNumber(totals.added) : '', 'number'),
      cell('Size', isKnown ? formatBytes(totals.addedBytes) : '', 'number'),
      cell(
        'Failed',
        isKnown ? formatNumber(totals.failed) : '',
        totals.failed === 0 ? 'number none' : 'number',
      ),
      cell('Requests', asked, 'number'),
      cell('Behind', lagWords(lagSeconds) ?? ''),
    ].join('')}</tr>`;
  });
  const heads = ['Took', 'Archives', 'Size', 'Failed', 'Requests'].map(
    (title) => `<th scope="col" class="number">${title}</th>`,
  );
  return [
    '<h2>Runs</h2>',
    '<details>',
    `<summary><span class="head">${count(records.length, 'run')}</span></summary>`,
    '<table class="cards">',
    `<thead><tr>${['Ended', 'How'].map(columnHead).join('')}${heads.join('')}${columnHead('Behind')}</tr></thead>`,
    '<tbody>',
    ...rows,
    '</tbody>',
    '</table>',
    '</details>',
    ...(older > 0
      ? [
          `<p class="dim">${count(older, 'older record')} in this folder ${older === 1 ? 'is' : 'are'} not shown.</p>`,
        ]
      : []),
  ];
}

function row(name: string, cells: readonly string[]): string {
  return `<tr><th scope="row"><code>${escapeMarkup(name)}</code></th>${cells.join('')}</tr>`;
}

/** A cell that says on narrow screens, where the table has no head, what it is. `html` is HTML. */
function cell(label: string, html: string, look = ''): string {
  const looks = [look, html === '' ? 'empty' : ''].filter((name) => name !== '').join(' ');
  const attributes = `${looks === '' ? '' : ` class="${looks}"`}${label === '' ? '' : ` data-label="${label}"`}`;
  return `<td${attributes}>${unbroken(html)}</td>`;
}

function lagWords(lagSeconds: number | undefined): string | undefined {
  if (lagSeconds === undefined) return undefined;
  return lagSeconds === 0 ? 'level' : formatSeconds(lagSeconds);
}

function columnHead(title: string): string {
  return `<th scope="col">${title}</th>`;
}

function moment(iso: string): string {
  return `<time datetime="${escapeMarkup(iso)}">${escapeMarkup(formatMoment(iso))}</time>`;
}
