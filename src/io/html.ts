/** Pages for people: one file each, which loads nothing and runs nothing, and says so to the browser. */
import { hash } from 'node:crypto';
import { escapeMarkup } from './escape-markup.js';
import { PAGE_STYLE } from './html-style.js';

/** What a page is made of. */
export interface HtmlPage {
  /** As text. */
  readonly title: string;
  /** Beside the style of all pages. @defaultValue nothing */
  readonly style?: string | undefined;
  /** More of its head, as HTML. @defaultValue nothing */
  readonly head?: readonly string[] | undefined;
  /** What stands above {@link main}, as HTML. @defaultValue nothing */
  readonly top?: readonly string[] | undefined;
  /** What stands on it, as HTML. */
  readonly main: readonly string[];
  /**
   * Where its policies stand: in the file, which may lie anywhere, or in headers of the server that gives it, such as
   * {@link headerPolicy}, which can say more.
   * @defaultValue in the file
   */
  readonly policies?: 'in-file' | 'in-headers' | undefined;
  /** Version of conda-ferry, for the foot. */
  readonly toolVersion?: string | undefined;
  /** For the foot. */
  readonly madeAt?: Date | undefined;
}

/** Writes a page. */
export function formatPage(page: HtmlPage): string {
  const { title, style = '', head = [], top = [], main, policies = 'in-file', toolVersion, madeAt } = page;
  const tool = toolVersion === undefined ? 'conda-ferry' : `conda-ferry ${escapeMarkup(toolVersion)}`;
  const time = madeAt === undefined ? '' : `, ${madeAt.toISOString().replace(/\.\d+Z$/, 'Z')}`;
  const lines = [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    // First of what could load anything.
    ...(policies === 'in-file'
      ? [
          `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
          '<meta name="referrer" content="no-referrer">',
        ]
      : []),
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    ...head,
    `<title>${escapeMarkup(title)}</title>`,
    `<style>${PAGE_STYLE}${style}</style>`,
    '</head>',
    '<body>',
    ...top,
    '<main id="main">',
    ...main,
    '</main>',
    `<footer>Made by ${tool}${time}</footer>`,
    '</body>',
    '</html>',
  ];
  return `${lines.join('\n')}\n`;
}

/**
 * The `Content-Security-Policy` of a page with that style: it loads nothing, runs nothing, is put into no frame, and sends its
 * forms to its own server only. The style is known by its digest, so that none can be slipped in.
 * @see Content Security Policy Level 3, section 2.3.1
 */
export function headerPolicy(style = ''): string {
  const digest = hash('sha256', `${PAGE_STYLE}${style}`, 'base64');
  return `default-src 'none'; style-src 'sha256-${digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`;
}

/** How something stands, in a box at the top. `headline` and `details` are text. */
export function verdictBanner(
  look: 'good' | 'partly' | 'bad',
  headline: string,
  details: string,
): readonly string[] {
  return [
    `<div class="verdict ${look}">`,
    `<strong>${escapeMarkup(headline)}</strong>`,
    `<span>${unbroken(inlineCode(details))}</span>`,
    '</div>',
  ];
}

/** Makes text HTML, with code where it has backticks. */
export function inlineCode(text: string): string {
  return escapeMarkup(text).replace(/`([^`]+)`/g, '<code>$1</code>');
}

/** Keeps numbers such as `1 234` on one line. */
export function unbroken(text: string): string {
  return text.replace(/(\d) (?=\d{3}\b)/g, '$1\u00a0');
}

/** `Does not conform` for `does not conform`. */
export function capitalize(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
