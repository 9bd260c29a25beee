/**
 * Tells the job what a run did: outputs into `GITHUB_OUTPUT`, and for `push` a summary into `GITHUB_STEP_SUMMARY`
 * (`mirror` writes its own). Usage: `node summary.mjs push|mirror REPORT`. A run that could not begin leaves no report, and
 * counts as nothing done.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { argv, env, stdout } from 'node:process';

/** Rows of either table; a step has 1 MiB. */
const MAX_ROWS = 500;

/**
 * @typedef {object} PushReport
 * @property {string} channel
 * @property {{ subdir: string, filename: string, digest: string, repository: string, tag: string, status: string }[]} published
 * @property {{ path?: string, filename?: string, code: string, message: string }[]} failed
 * @property {boolean} [dryRun]
 */

/**
 * Words of a report, and what they are for people.
 * @type {Readonly<Record<string, string>>}
 */
const STATUS = {
  added: 'published',
  replaced: 'replaced',
  there: 'there already',
  stored: 'stored, not listed',
};

const [, , command = '', file = ''] = argv;
const report = readReport();
const isPush = command === 'push';
const published = isPush ? (report?.published?.length ?? 0) : (report?.totals?.added ?? 0);
const failed = isPush ? (report?.failed?.length ?? 0) : (report?.totals?.failed ?? 0);

appendFileSync(env['GITHUB_OUTPUT'] ?? '', `published=${published}\nfailed=${failed}\nreport=${file}\n`);
if (isPush && report !== undefined) {
  // Also into the log, where `--json` left nothing to read.
  for (const { subdir, filename, digest, status } of report.published ?? [])
    stdout.write(`${plain(`${subdir}/${filename}: ${STATUS[status] ?? status}, ${digest}`)}\n`);
  appendFileSync(env['GITHUB_STEP_SUMMARY'] ?? '', formatSummary(report));
}

/** @returns {{ published?: PushReport['published'], failed?: PushReport['failed'], channel?: string, dryRun?: boolean, totals?: { added: number, failed: number } } | undefined} */
function readReport() {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** @param {Partial<PushReport>} report */
function formatSummary({ channel = '', published = [], failed = [], dryRun = false }) {
  const bad = failed.length === 0 ? '' : `, ${failed.length} failed`;
  const count = published.length === 1 ? '1 archive' : `${published.length} archives`;
  const blocks = [`### ${count} ${dryRun ? 'would be published' : 'published'} to ${code(channel)}${bad}`];
  if (published.length > 0) {
    blocks.push(
      table(
        ['archive', 'status', 'sha256', 'artifact'],
        published.map(({ subdir, filename, digest, repository, tag, status }) => [
          code(`${subdir}/${filename}`),
          escape(STATUS[status] ?? status),
          code(digest.replace(/^sha256:/, '')),
          code(`${repository}:${tag}`),
        ]),
      ),
    );
  }
  if (failed.length > 0) {
    blocks.push(
      table(
        ['failed', 'code', 'why'],
        failed.map(({ path, filename, code: errorCode, message }) => [
          code(path ?? filename ?? ''),
          code(errorCode),
          escape(message),
        ]),
      ),
    );
  }
  return `${blocks.join('\n\n')}\n\n`;
}

/**
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
function table(head, rows) {
  const shown = rows.slice(0, MAX_ROWS);
  const lines = [head, head.map(() => '---'), ...shown].map((cells) => `| ${cells.join(' | ')} |`);
  const rest = rows.length - shown.length;
  return `${lines.join('\n')}${rest > 0 ? `\n\nand ${rest} more` : ''}`;
}

/** @param {string} text */
function code(text) {
  return `<code>${escape(text)}</code>`;
}

/**
 * Names come from archives: what could be markup becomes a character reference, which never is.
 * @param {string} text
 */
function escape(text) {
  return plain(text).replace(
    /[^\p{L}\p{N} ,.\-()/]/gu,
    (character) => `&#${String(character.codePointAt(0))};`,
  );
}

/**
 * One line that no terminal and no log takes for a command.
 * @param {string} text
 */
function plain(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?').replace(/^::/, ': :');
}
