/** Pages for people: one file each, which loads nothing and runs nothing, and says so to the browser. */
import { escapeMarkup } from './escape-markup.js';
import { PAGE_STYLE } from './html-style.js';

/** What a page is made of. */
export interface HtmlPage {
  /** As text. */
  readonly title: string;
  /** Beside the style of all pages. @defaultValue nothing */
  readonly style?: string | undefined;
  /** What stands on it, as HTML. */
  readonly main: readonly string[];
  /** Version of conda-ferry, for the foot. */
  readonly toolVersion?: string | undefined;
  /** For the foot. */
  readonly madeAt?: Date | undefined;
}

/** Writes a page. */
export function formatPage({ title, style = '', main, toolVersion, madeAt }: HtmlPage): string {
  const tool = toolVersion === undefined ? 'conda-ferry' : `conda-ferry ${escapeMarkup(toolVersion)}`;
  const time = madeAt === undefined ? '' : `, ${madeAt.toISOString().replace(/\.\d+Z$/, 'Z')}`;
  const lines = [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    // First of what could load anything.
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="referrer" content="no-referrer">',
    `<title>${escapeMarkup(title)}</title>`,
    `<style>${PAGE_STYLE}${style}</style>`,
    '</head>',
    '<body>',
    '<main>',
    ...main,
    '</main>',
    `<footer>Made by ${tool}${time}</footer>`,
    '</body>',
    '</html>',
  ];
  return `${lines.join('\n')}\n`;
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
