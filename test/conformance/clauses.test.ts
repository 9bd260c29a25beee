import { describe, expect, test } from 'vitest';
import { allClauses, clauseOf } from '#ferry/conformance/clauses.js';
import { isFerryError } from '#ferry/errors.js';
import { readDefects, readSpecFolder } from './spec.js';

/** How many there are of each letter. */
const CLAUSES = {
  v0: { D: 10, X: 11, K: 9 },
  v1: { G: 10, L: 6, S: 4, N: 5, T: 6, R: 9, C: 5, P: 8, A: 5, M: 1 },
};
const DEFECTS = {
  v1: { B: 32 },
  'conda-oci': { E: 13 },
  cep: { F: 12 },
};

function idsOf(document: string, counts: Readonly<Record<string, number>>): string[] {
  return Object.entries(counts).flatMap(([letter, count]) =>
    Array.from({ length: count }, (_, index) => `${document}/${letter}${index + 1}`),
  );
}

const clauses = allClauses();
const defects = readDefects();
const allDefects = defects.flatMap((file) => file.defects);

describe('clauses', () => {
  const files = readSpecFolder('clauses').map(({ name, content }) => {
    const { document, clauses } = content as { document: string; clauses: { id: string }[] };
    return { name, document, ids: clauses.map(({ id }) => id) };
  });

  test('have ids that are there once, in whatever file', () => {
    const ids = files.flatMap((file) => file.ids);
    expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
    expect(clauses.map(({ id }) => id).sort()).toEqual(ids.sort());
  });

  test.each(Object.entries(CLAUSES))('of %s are all there, in order, and no others', (document, counts) => {
    const file = files.find(({ name }) => name === `${document}.json`);
    expect(file).toMatchObject({ document, ids: idsOf(document, counts) });
  });

  test('are one line each, with a full stop', () => {
    for (const { id, text } of clauses) expect(text, id).toMatch(/^\S[^\n]+\.$/);
  });

  test.each([
    ['MUST', 'literal', 'error', 'v1/N3'],
    ['MUST NOT', 'literal', 'error', 'v1/S4'],
    ['MUST', 'derived', 'warning', 'v1/N5'],
    ['SHOULD', 'literal', 'warning', 'v1/G7'],
    ['SHOULD NOT', 'practice', 'warning', 'v0/X6'],
    ['MAY', 'literal', 'info', 'v1/R6'],
    ['note', 'literal', 'info', 'v1/G4'],
    ['note', 'ambiguous', 'info', 'v1/P8'],
  ] as const)('a %s that is %s: a breach of it is of severity %s', (level, basis, severity, id) => {
    expect(clauseOf(id)).toMatchObject({ level, basis, severity });
  });

  test('v1/B19: channeldata that is missing is worth a warning, repodata that is missing an error', () => {
    expect(clauseOf('v1/C1').severity).toBe('warning');
    expect(clauseOf('v1/R1').severity).toBe('error');
  });

  test('v1/B20: what the draft calls not allowed is MUST NOT', () => {
    for (const id of ['v1/P5', 'v1/A5', 'v1/R8'] as const) expect(clauseOf(id).level).toBe('MUST NOT');
  });

  test('with an unknown id are an error of ours', () => {
    expect.assertions(1);
    try {
      clauseOf('v1/Z1');
    } catch (error) {
      expect(isFerryError(error, 'INTERNAL')).toBe(true);
    }
  });
});

describe('defects', () => {
  test.each(Object.entries(DEFECTS))('of %s are all there, in order', (document, counts) => {
    const ids = defects.find((file) => file.document === document)?.defects.map(({ id }) => id);
    expect(ids).toEqual(idsOf(document, counts));
  });

  test('touch clauses that exist', () => {
    const known = new Set<string>(clauses.map(({ id }) => id));
    for (const { id, clauses } of allDefects) {
      expect(
        clauses.filter((clause) => !known.has(clause)),
        id,
      ).toEqual([]);
    }
  });

  test('have a counter-example where a program can show them, and only there', () => {
    for (const { id, counterExample, shown } of allDefects)
      expect(counterExample !== undefined, id).toBe(shown);
  });

  // conda-oci is a program: what is wrong with it is no defect of the clauses it breaks.
  test('of specifications are named by the clauses they touch, and by no others', () => {
    const touched = allDefects
      .filter(({ id }) => !id.startsWith('conda-oci/'))
      .flatMap(({ id, clauses }) => clauses.map((clause) => `${clause} ${id}`));
    const named = clauses.flatMap(({ id, defects = [] }) => defects.map((defect) => `${id} ${defect}`));
    expect(named.sort()).toEqual(touched.sort());
  });
});
