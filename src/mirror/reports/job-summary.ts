import { count, formatBytes, formatNumber, formatSeconds } from '../../io/figures.js';
import { visibleText } from '../../io/visible-text.js';
import { ongoingFailures } from './history.js';
import type { RecordedSubdir, RunRecord } from './run-record.js';
import { describeState } from './run-state.js';
import { PUBLISHED_WORDS } from './words.js';

/** Failures named; the record has more. */
const MAX_FAILURES = 20;
const MAX_PACKAGES = 10;
/** Rows of subdirs; conda knows some thirty. */
const MAX_SUBDIRS = 100;
/** Characters of one piece of text. */
const MAX_TEXT = 300;

/**
 * Writes a record as Markdown, for a job's summary on GitHub: heading, state in a sentence, table of subdirs, failures,
 * largest packages. It is well below the MiB that a step has. Names are shown as they are, and nothing in them
 * is markup.
 */
export function formatJobSummary(record: RunRecord): string {
  const { headline, details } = describeState([record]);
  const blocks = [
    `### ${escapeMarkdown(headline)}`,
    `${code(record.source)} → ${code(record.destination)}`,
    escapeMarkdown(details),
    subdirTable(record.subdirs),
    failureList(record),
    packageTable(record),
  ];
  return `${blocks.filter((block) => block !== '').join('\n\n')}\n\n`;
}

function subdirTable(subdirs: readonly RecordedSubdir[]): string {
  if (subdirs.length === 0) return '';
  const rows = subdirs.slice(0, MAX_SUBDIRS).map((subdir) => {
    const { listed, there, added, addedBytes, failed, withheld, lagSeconds, publishedAs } = subdir;
    return [
      code(subdir.subdir),
      listed === undefined ? '' : formatNumber(listed),
      formatNumber(there),
      formatNumber(added),
      added === 0 ? '' : formatBytes(addedBytes),
      formatNumber(failed),
      formatNumber(withheld),
      lagSeconds === undefined ? '' : lagSeconds === 0 ? 'level' : formatSeconds(lagSeconds),
      PUBLISHED_WORDS[publishedAs],
    ];
  });
  const head = ['subdir', 'listed', 'there', 'added', 'size', 'failed', 'withheld', 'behind', 'repodata'];
  return table(head, [1, 2, 3, 4, 5, 6], rows);
}

function failureList(record: RunRecord): string {
  const failures = ongoingFailures([record]);
  if (record.totals.failed === 0) return '';
  const lines = failures
    .slice(0, MAX_FAILURES)
    .map(({ subdir, filename, code: errorCode, message, accepted }) => {
      const known = accepted === true ? ' (known to fail)' : '';
      return `- ${code(`${subdir}/${filename}`)}: ${escapeMarkdown(message)} ${code(errorCode)}${known}`;
    });
  const rest = record.totals.failed - lines.length;
  if (rest > 0) lines.push(`- and ${formatNumber(rest)} more`);
  return `**${count(record.totals.failed, 'archive')} failed**\n\n${lines.join('\n')}`;
}

function packageTable({ packages, otherPackages }: RunRecord): string {
  if (packages.length === 0) return '';
  const rows = packages
    .slice(0, MAX_PACKAGES)
    .map(({ name, archives, bytes }) => [code(name), formatNumber(archives), formatBytes(bytes)]);
  const rest = packages.length + otherPackages.packages - rows.length;
  const more = rest > 0 ? `\n\nand ${count(rest, 'package')} more` : '';
  return `${table(['added', 'archives', 'size'], [1, 2], rows)}${more}`;
}

/** `right` names the columns of numbers. */
function table(
  head: readonly string[],
  right: readonly number[],
  rows: readonly (readonly string[])[],
): string {
  const rule = head.map((_, i) => (right.includes(i) ? '---:' : '---'));
  return [head, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function code(text: string): string {
  return `<code>${escapeMarkdown(text)}</code>`;
}

/**
 * Makes text that stands for itself in GitHub's Markdown: what could be markup becomes a character reference, which never
 * is. Addresses are not made links.
 */
function escapeMarkdown(text: string): string {
  return visibleText(text.trim(), MAX_TEXT)
    .replace(/[^\p{L}\p{M}\p{N} ,.\-()/]/gu, (character) => `&#${String(character.codePointAt(0))};`)
    .replace(/\bwww\./gi, (match) => `${match.slice(0, -1)}&#46;`)
    .replace(
      /^(\s*(?:\d+|))([.)-])/,
      (_, start: string, mark: string) => `${start}&#${String(mark.charCodeAt(0))};`,
    );
}
