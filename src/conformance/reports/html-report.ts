import { escapeMarkup } from '../../io/escape-markup.js';
import { count, formatNumber } from '../../io/figures.js';
import { capitalize, formatPage, inlineCode, unbroken, verdictBanner } from '../../io/html.js';
import type { Finding } from '../check-log.js';
import type { Clause, Severity } from '../clauses.js';
import type { CheckReport } from '../report.js';
import { HTML_STYLE } from './html-style.js';
import {
  formatSample,
  groupByClause,
  SEVERITIES,
  severityName,
  summarizeAreas,
  verdictOf,
  type AreaSummary,
  type ClauseFindings,
} from './summary.js';

/** How {@link formatHtmlReport} writes. */
export interface HtmlReportOptions {
  /** Version of conda-ferry, for the foot of the page. */
  readonly toolVersion?: string | undefined;
  /** When the check ended, for the foot of the page. */
  readonly madeAt?: Date | undefined;
  /** Findings written of each clause, and places that could not be checked. @defaultValue 1000 */
  readonly maxPerClause?: number | undefined;
  /** Findings written in all. @defaultValue 20000 */
  readonly maxFindings?: number | undefined;
}

const DEFAULT_MAX_PER_CLAUSE = 1000;
/** A page of some 10 MB, which browsers still open at once. */
const DEFAULT_MAX_FINDINGS = 20_000;
/** Clauses with so few findings are open from the start. */
const FEW = 5;

/**
 * Writes a report as one HTML page for people, on screen and on paper: verdict, table by area, findings by clause with
 * errors first. It loads nothing and runs nothing, and says so to the browser.
 */
export function formatHtmlReport(
  report: CheckReport,
  {
    toolVersion,
    madeAt,
    maxPerClause = DEFAULT_MAX_PER_CLAUSE,
    maxFindings = DEFAULT_MAX_FINDINGS,
  }: HtmlReportOptions = {},
): string {
  const { headline, details } = verdictOf(report);
  const look = report.unchecked.length > 0 ? 'partly' : 'good';
  return formatPage({
    title: `${report.target} ${headline}`,
    style: HTML_STYLE,
    main: [
      `<h1>Conformance of ${report.kind} <code>${escapeMarkup(report.target)}</code></h1>`,
      ...verdictBanner(report.conforms ? look : 'bad', capitalize(headline), details),
      ...facts(report),
      ...areaTable(summarizeAreas(report)),
      ...findingsSection(groupByClause(report), maxPerClause, maxFindings),
      ...uncheckedSection(report, maxPerClause),
      ...passedSection(report),
    ],
    toolVersion,
    madeAt,
  });
}

function facts({ checked, sample }: CheckReport): readonly string[] {
  const looked = [
    [checked.subdirs, 'subdir'],
    [checked.artifacts, 'artifact'],
    [checked.archives, 'archive'],
    [checked.records, 'record'],
  ] as const;
  const parts = looked.filter(([number]) => number > 0).map(([number, noun]) => count(number, noun));
  if (checked.repositories > 0) parts.splice(1, 0, repositories(checked.repositories));
  return [
    '<dl class="facts">',
    `<dt>Looked at</dt><dd>${parts.length === 0 ? 'nothing' : unbroken(parts.join(', '))}</dd>`,
    ...(sample === undefined
      ? []
      : [`<dt>Sample</dt><dd>${unbroken(escapeMarkup(formatSample(sample)))}</dd>`]),
    '</dl>',
  ];
}

function repositories(number: number): string {
  return number === 1 ? '1 repository' : `${formatNumber(number)} repositories`;
}

function areaTable(areas: readonly AreaSummary[]): readonly string[] {
  if (areas.length === 0) return [];
  const sum = (severity: Severity) => areas.reduce((before, { counts }) => before + counts[severity], 0);
  const clauses = areas.reduce((before, area) => before + area.clauses.length, 0);
  return [
    '<h2>By area</h2>',
    '<table>',
    '<caption>How many clauses were checked, and how often they were broken</caption>',
    `<thead><tr><th scope="col">Area</th>${['Clauses', 'Errors', 'Warnings', 'Notes'].map(columnHead).join('')}</tr></thead>`,
    '<tbody>',
    ...areas.map(
      ({ area, clauses, counts }) => `<tr><th scope="row">${area}</th>${cells(clauses.length, counts)}</tr>`,
    ),
    '</tbody>',
    `<tfoot><tr><th scope="row">all</th>${cells(clauses, { error: sum('error'), warning: sum('warning'), info: sum('info') })}</tr></tfoot>`,
    '</table>',
  ];
}

function columnHead(title: string): string {
  return `<th scope="col" class="number">${title}</th>`;
}

function cells(clauses: number, counts: Readonly<Record<Severity, number>>): string {
  const found = SEVERITIES.map((severity) => {
    const look = counts[severity] > 0 ? severityName(severity) : 'none';
    return `<td class="number ${look}">${formatNumber(counts[severity])}</td>`;
  });
  return `<td class="number">${formatNumber(clauses)}</td>${found.join('')}`;
}

function findingsSection(
  groups: readonly ClauseFindings[],
  maxPerClause: number,
  maxFindings: number,
): readonly string[] {
  const lines = ['<h2>Findings</h2>'];
  if (groups.length === 0) lines.push('<p>None.</p>');
  let room = maxFindings;
  for (const group of groups) {
    const shown = group.kept.slice(0, Math.min(maxPerClause, room));
    room -= shown.length;
    lines.push(...clauseDetails(group, shown));
  }
  return lines;
}

function clauseDetails(
  { clause, checks, findings }: ClauseFindings,
  shown: readonly Finding[],
): readonly string[] {
  const name = severityName(clause.severity);
  const rest = findings - shown.length;
  return [
    `<details class="findings ${name}"${findings <= FEW ? ' open' : ''}>`,
    `<summary><span class="badge">${name}</span> <code>${escapeMarkup(clause.id)}</code> <span class="head">${inlineCode(clause.subject)}</span> <span class="count">${formatNumber(findings)} of ${count(checks, 'check')}</span></summary>`,
    `<div class="clause"><p>${inlineCode(clause.text)}</p><p class="dim">${sourceOf(clause)}</p></div>`,
    '<ol>',
    ...shown.map(findingItem),
    '</ol>',
    ...(rest > 0 ? [`<p class="rest">and ${formatNumber(rest)} more, not on this page</p>`] : []),
    '</details>',
  ];
}

function sourceOf({ level, source, document: { title, url, revision } }: Clause): string {
  const name = escapeMarkup(title);
  // A link of another kind could run something.
  const link = /^https?:\/\//i.test(url) ? `<a href="${escapeMarkup(url)}">${name}</a>` : name;
  return `${level} in ${link} (${escapeMarkup(revision)}), ${inlineCode(source)}`;
}

function findingItem({ where, found, expected, hint }: Finding): string {
  const rows = [
    `<dt>found</dt><dd>${inlineCode(found)}</dd>`,
    `<dt>expected</dt><dd>${inlineCode(expected)}</dd>`,
  ];
  if (hint !== undefined) rows.push(`<dt>hint</dt><dd>${inlineCode(hint)}</dd>`);
  return `<li><code class="where">${escapeMarkup(where)}</code><dl>${rows.join('')}</dl></li>`;
}

function uncheckedSection({ unchecked }: CheckReport, max: number): readonly string[] {
  if (unchecked.length === 0) return [];
  const rest = unchecked.length - max;
  return [
    '<h2>Could not be checked</h2>',
    `<details class="findings warning"${unchecked.length <= FEW ? ' open' : ''}>`,
    `<summary><span class="head">${count(unchecked.length, 'place')}</span></summary>`,
    '<ol>',
    ...unchecked
      .slice(0, max)
      .map(
        ({ where, code, message }) =>
          `<li><code class="where">${escapeMarkup(where)}</code><br>${inlineCode(message)} <code class="dim">${escapeMarkup(code)}</code></li>`,
      ),
    '</ol>',
    ...(rest > 0 ? [`<p class="rest">and ${formatNumber(rest)} more, not on this page</p>`] : []),
    '</details>',
  ];
}

function passedSection({ clauses }: CheckReport): readonly string[] {
  const passed = clauses.filter(({ findings }) => findings === 0);
  if (passed.length === 0) return [];
  return [
    '<section class="passed">',
    '<h2>Without a finding</h2>',
    '<details>',
    `<summary><span class="head">${count(passed.length, 'clause')}</span></summary>`,
    '<table>',
    `<thead><tr><th scope="col">Clause</th><th scope="col">Subject</th>${columnHead('Checks')}</tr></thead>`,
    '<tbody>',
    ...passed.map(
      ({ clause, checks }) =>
        `<tr><th scope="row"><code>${escapeMarkup(clause.id)}</code></th><td>${inlineCode(clause.subject)}</td><td class="number">${formatNumber(checks)}</td></tr>`,
    ),
    '</tbody>',
    '</table>',
    '</details>',
    '</section>',
  ];
}
