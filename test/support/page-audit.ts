/** What of the DOM is looked at: the tests themselves run where there is none. */
interface PageNode {
  readonly nodeType: number;
  readonly textContent: string | null;
}
interface PageElement extends PageNode {
  readonly tagName: string;
  readonly id: string;
  readonly outerHTML: string;
  readonly parentElement: PageElement | null;
  readonly childNodes: Iterable<PageNode>;
  readonly labels?: { readonly length: number };
  getAttribute(name: string): string | null;
  matches(selector: string): boolean;
  querySelector(selector: string): PageElement | null;
  checkVisibility(): boolean;
  getBoundingClientRect(): { readonly right: number };
}
interface PageStyle {
  readonly color: string;
  readonly backgroundColor: string;
}
declare const document: {
  readonly title: string;
  readonly documentElement: PageElement & { readonly lang: string; readonly scrollWidth: number };
  querySelectorAll(selector: string): Iterable<PageElement>;
};
declare const innerWidth: number;
declare function getComputedStyle(element: PageElement): PageStyle;

/**
 * Looks for what keeps people from using a page. Runs inside the page, so nothing from outside may be named here.
 * @returns a line for each fault
 */
export function auditPage(): string[] {
  const faults: string[] = [];
  const all = (selector: string): PageElement[] => [...document.querySelectorAll(selector)];
  const expectThat = (isSo: boolean, fault: string): void => {
    if (!isSo) faults.push(fault);
  };
  const short = (element: PageElement): string => element.outerHTML.slice(0, 120);

  expectThat(document.documentElement.lang === 'en', 'no language');
  expectThat(document.title.trim() !== '', 'no title');
  for (const [selector, count] of [
    ['main', 1],
    ['footer', 1],
    ['h1', 1],
  ] as const)
    expectThat(all(selector).length === count, `${all(selector).length} of ${selector}`);
  for (const element of all('body > *'))
    expectThat(element.matches('header, main, footer, a.skip'), `outside of landmarks: ${short(element)}`);
  const navs = all('nav').map((nav) => nav.getAttribute('aria-label') ?? '');
  expectThat(
    !navs.includes('') && new Set(navs).size === navs.length,
    `navs without names of their own: ${navs.join()}`,
  );

  let last = 0;
  for (const heading of all('h1, h2, h3, h4, h5, h6')) {
    const level = Number(heading.tagName.slice(1));
    expectThat(level <= last + 1, `a level is skipped before ${short(heading)}`);
    last = level;
  }
  for (const input of all('input, select, textarea'))
    expectThat((input.labels?.length ?? 0) > 0, `no label: ${short(input)}`);
  for (const control of all('a, button, summary')) {
    const name = control.getAttribute('aria-label') ?? control.textContent ?? '';
    expectThat(name.trim() !== '', `no name: ${short(control)}`);
  }
  for (const table of all('table'))
    expectThat(
      (table.querySelector('caption')?.textContent ?? '').trim() !== '',
      `no caption: ${short(table)}`,
    );
  for (const head of all('th')) expectThat(head.getAttribute('scope') !== null, `no scope: ${short(head)}`);
  const ids = all('[id]').map(({ id }) => id);
  expectThat(new Set(ids).size === ids.length, `an id twice: ${ids.join()}`);

  const { scrollWidth } = document.documentElement;
  expectThat(scrollWidth <= innerWidth, `wider than the window: ${scrollWidth} of ${innerWidth}`);
  for (const element of all('main *')) {
    if (!element.checkVisibility() || element.matches('.cards thead, .cards thead *')) continue;
    const { right } = element.getBoundingClientRect();
    expectThat(right <= innerWidth + 1, `out of the window: ${short(element)}`);
  }

  const channels = (color: string): number[] => (color.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (color: string): number => {
    const [red = 0, green = 0, blue = 0] = channels(color).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const background = (element: PageElement | null): string => {
    if (element === null) return 'rgb(255, 255, 255)';
    const color = getComputedStyle(element).backgroundColor;
    return channels(color)[3] === 0 ? background(element.parentElement) : color;
  };
  for (const element of all('body, body *')) {
    const hasText = [...element.childNodes].some(
      ({ nodeType, textContent }) => nodeType === 3 && (textContent ?? '').trim() !== '',
    );
    if (!hasText || !element.checkVisibility()) continue;
    const [a, b] = [luminance(getComputedStyle(element).color), luminance(background(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    expectThat(contrast >= 4.5, `contrast ${contrast.toFixed(2)}: ${short(element)}`);
  }
  return [...new Set(faults)];
}
