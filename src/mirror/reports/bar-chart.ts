import { escapeMarkup } from '../../io/escape-markup.js';

/** A bar of a chart. */
export interface Bar {
  readonly value: number;
  /** What it is, for who points at it: `2026-05-01 12:00 UTC: 3 archives`. */
  readonly title: string;
  /** Whether a mark stands in its place, over the whole height. */
  readonly isMarked?: boolean | undefined;
}

/** What a chart shows. */
export interface BarChart {
  /** Names it on its page, in HTML's `id`. */
  readonly id: string;
  /** All of it in one sentence, for who does not see it. */
  readonly title: string;
  /** From left to right. */
  readonly bars: readonly Bar[];
}

const HEIGHT = 100;
const BAR_WIDTH = 8;
const GAP = 2;
/** Few bars are no wider than many. */
const MIN_SLOTS = 30;
/** Lowest bar that is not nothing. */
const MIN_HEIGHT = 2;
/** A first mirror is a thousand times a nightly one: a bar so many times the next is cut, for the others to be seen. */
const CUT_FROM = 4;

/** Draws bars as inline SVG that fills the width it is given. */
export function drawBars({ id, title, bars }: BarChart): readonly string[] {
  const width = Math.max(bars.length, MIN_SLOTS) * (BAR_WIDTH + GAP) - GAP;
  const { top } = scaleOf(bars.map(({ value }) => value));
  const rects = bars.flatMap(({ value, title: barTitle, isMarked }, i) => {
    const x = i * (BAR_WIDTH + GAP);
    const height = value === 0 ? 0 : Math.max(MIN_HEIGHT, (Math.min(value, top) / top) * HEIGHT);
    const text = `<title>${escapeMarkup(barTitle)}</title>`;
    const shape = (name: string, tall: number): string =>
      `<rect class="${name}" x="${String(x)}" y="${(HEIGHT - tall).toFixed(1)}" width="${String(BAR_WIDTH)}" height="${tall.toFixed(1)}">${text}</rect>`;
    return [
      // Also over nothing one wants to know what is there.
      shape(isMarked === true ? 'mark' : 'slot', HEIGHT),
      ...(height === 0 ? [] : [shape(value > top ? 'bar cut' : 'bar', height)]),
    ];
  });
  return [
    `<svg class="bars" role="img" aria-labelledby="${id}" viewBox="0 0 ${String(width)} ${String(HEIGHT)}" preserveAspectRatio="none">`,
    `<title id="${id}">${escapeMarkup(title)}</title>`,
    ...rects,
    '</svg>',
  ];
}

/** What the full height of a chart stands for, and whether the largest value is more than that. */
export function scaleOf(values: readonly number[]): { readonly top: number; readonly isCut: boolean } {
  const [first = 0, second = 0] = values.toSorted((a, b) => b - a);
  const isCut = second > 0 && first > CUT_FROM * second;
  return { top: Math.max(1, isCut ? second * 1.5 : first), isCut };
}
