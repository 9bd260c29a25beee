import { resolveLinks } from '#ferry/conda/archive/info-links.js';
import { expect, it } from 'vitest';

const links = new Map([
  ['a', '../x'],
  ['b', 'c'],
  ['d', '/etc'],
  ['e', 'e'],
]);

it('throws at the first link that leads out of `info/`', () => {
  expect(() => {
    resolveLinks(links);
  }).toThrow(expect.objectContaining({ code: 'ARCHIVE_LINK_UNSAFE' }));
});

it('tells each link that leads out of `info/` to a listener', () => {
  const told: string[] = [];
  resolveLinks(links, (path, { code }) => told.push(`${path} ${code}`));
  expect(told).toEqual(['a ARCHIVE_LINK_UNSAFE', 'd ARCHIVE_LINK_UNSAFE']);
});
