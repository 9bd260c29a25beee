/** What pages say of what is not there: not yet, not now, not at all. */
import { ERROR_CODES, isFerryError, messageOf, type FerryError } from '../../errors.js';
import { escapeMarkup } from '../../io/escape-markup.js';
import { capitalize, inlineCode } from '../../io/html.js';
import { redactText } from '../../io/redact.js';
import type { Staleness } from '../channels/served-channel.js';
import type { SubdirState } from './channel-state.js';
import { code, moment, type Page, type Step } from './page.js';

/** How long a page that waits for something waits until it looks again. */
const REFRESH_SECONDS = 5;

/** What cannot be read. `what` is text. */
export function failedPage(what: string, error: FerryError, trail: readonly Step[]): Page {
  return {
    title: `${what} cannot be read`,
    trail,
    status: 503,
    main: [
      `<h1>${escapeMarkup(what)} cannot be read</h1>`,
      ...failure(error),
      '<p>That may pass: try it again in a while.</p>',
    ],
  };
}

/** What went wrong, in a box. */
export function failure(error: FerryError): readonly string[] {
  const { hint } = error;
  return [
    '<div class="verdict bad">',
    `<strong>${capitalize(ERROR_CODES[error.code])}</strong>`,
    `<span>${code(error.code)}: ${inlineCode(redactText(messageOf(error)))}</span>`,
    ...(hint === undefined ? [] : [`<p>${inlineCode(capitalize(redactText(hint)))}.</p>`]),
    '</div>',
  ];
}

/** What is being read just now. `what` is text. */
export function waitingPage(what: string, trail: readonly Step[]): Page {
  return {
    title: `${what} is being read`,
    trail,
    refreshSeconds: REFRESH_SECONDS,
    main: [
      `<h1>${escapeMarkup(what)} is being read</h1>`,
      '<p>Its list of packages is not there yet. With large channels that takes a minute or two.</p>',
      `<p>This page comes again by itself every ${String(REFRESH_SECONDS)} seconds.</p>`,
    ],
  };
}

/** What does not exist. `what` is text. */
export function absentPage(what: string, trail: readonly Step[]): Page {
  return {
    title: 'Not found',
    trail,
    status: 404,
    main: ['<h1>Not found</h1>', `<p>${escapeMarkup(what)}</p>`],
  };
}

/** Which subdirs are missing from what a page says, or are not up to date, if some are. */
export function gaps(subdirs: readonly SubdirState[]): readonly string[] {
  const waiting = subdirs.filter(({ kind }) => kind === 'waiting').map(({ subdir }) => code(subdir));
  const failed = subdirs.filter((state) => state.kind === 'failed');
  const stale = subdirs.flatMap(({ subdir, generation }) =>
    generation?.staleness === undefined ? [] : [{ subdir, ...generation.staleness }],
  );
  const [first] = stale;
  const lines = [
    ...(first === undefined
      ? []
      : [`${staleness(first)}: ${stale.map(({ subdir }) => code(subdir)).join(', ')}.`]),
    ...(waiting.length === 0 ? [] : [`Still being read, so not on this page: ${waiting.join(', ')}.`]),
    ...failed.map(
      ({ subdir, error }) => `Not to be read, so not on this page: ${code(subdir)} (${code(error.code)}).`,
    ),
  ];
  // Such a page does not come again by itself: somebody may be reading or typing.
  return lines.map((line) => `<p class="notice partly">${line}</p>`);
}

/** Says that something is not what may be there by now. */
export function staleness({ since, code: why }: Staleness): string {
  return `Out of date, last confirmed ${moment(since)}, since then ${code(why)}`;
}

/** Passes errors of ours on to a page, and throws all others. */
export function expectFerryError(error: unknown): FerryError {
  if (isFerryError(error)) return error;
  throw error;
}
