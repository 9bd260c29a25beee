import { lowerAscii } from './string-matcher.js';

/** A component of a version: a number without zeros in front, a word in lower case, or `_` for a `_` or `-` at the end. */
type Component = string;

/** A version taken apart. Each segment begins with a number, 0 if none was written. */
export interface VersionParts {
  readonly epoch: string;
  readonly segments: readonly (readonly Component[])[];
  readonly local: readonly (readonly Component[])[];
}

/**
 * Takes a valid version apart: `1!2.0rc1+3` is epoch 1, segments 2 and 0-rc-1, local segment 3.
 * @see CEP 33
 */
export function versionParts(version: string): VersionParts {
  const [, epoch = '0', main = '', local] = /^(?:(\d+)!)?([^+]*)(?:\+(.*))?$/.exec(lowerAscii(version)) ?? [];
  return {
    epoch: withoutZeros(epoch),
    segments: segmentsOf(main),
    local: local === undefined ? [] : segmentsOf(local),
  };
}

/** The same version but for its last segment: what `~=` asks to be the same. */
export function withoutLastSegment(parts: VersionParts): VersionParts {
  return { ...parts, segments: parts.segments.slice(0, -1) };
}

/**
 * Tells whether a version begins like another: 1.2.3 and 1.2rc1 begin with 1.2, and so does 1.2 with 1.2.0; 1.20 does
 * not, nor does 1.2a.3 begin with 1.2.3.
 * @see CEP 29, "Fuzzy equality"; of components that go on within a segment the CEP says nothing, rattler takes them
 */
export function startsWith(version: VersionParts, prefix: VersionParts): boolean {
  return (
    version.epoch === prefix.epoch &&
    segmentsStartWith(version.segments, prefix.segments) &&
    segmentsStartWith(version.local, prefix.local)
  );
}

function segmentsStartWith(segments: VersionParts['segments'], prefixes: VersionParts['segments']): boolean {
  let goesOn = false;
  for (const [index, prefix] of prefixes.entries()) {
    const segment = segments[index];
    if (segment === undefined) {
      if (!prefix.every(isZero)) return false;
      continue;
    }
    if (goesOn) return false;
    for (const [at, component] of prefix.entries()) {
      const actual = segment[at];
      if (actual === undefined ? !isZero(component) : actual !== component) return false;
    }
    goesOn = segment.length > prefix.length;
  }
  return true;
}

function isZero(component: Component): boolean {
  return component === '0';
}

function segmentsOf(text: string): Component[][] {
  // One `_` or `-` at the end belongs to the last segment; behind another separator it is a segment of its own.
  const [, body = '', end = ''] = /^(.*?)([-._]?[-_])?$/.exec(text) ?? [];
  const segments = body.split(/[-._]/).map(componentsOf);
  if (end.length === 1) segments.at(-1)?.push('_');
  else if (end.length === 2) segments.push(['0', '_']);
  return segments;
}

function componentsOf(segment: string): Component[] {
  const components = (segment.match(/\d+|[a-z]+/g) ?? []).map(withoutZeros);
  return /^\d/.test(segment) ? components : ['0', ...components];
}

function withoutZeros(component: string): string {
  return component.startsWith('0') ? component.replace(/^0+(?=\d)/, '') : component;
}
