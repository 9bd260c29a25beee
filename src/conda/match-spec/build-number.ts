import { invalid, type Slice } from './slice.js';

/** What a build number has to be, such as `>=3`. */
export interface BuildNumberSpec {
  readonly operator: '==' | '!=' | '<' | '<=' | '>' | '>=';
  readonly number: number;
}

/**
 * Reads `3`, `==3`, `!=3`, `<3`, `<=3`, `>3` or `>=3`.
 * @throws ParseError `MATCH_SPEC_INVALID`
 */
export function parseBuildNumber(slice: Slice): BuildNumberSpec {
  const [, operator = '==', digits = ''] = /^([=!<>]=|[<>])?(\d{1,15})$/.exec(slice.text) ?? [];
  if (digits === '') {
    throw invalid(
      slice,
      `\`${slice.text}\` is no condition on a build number`,
      'write build_number=3 or ">=3"',
    );
  }
  return { operator: operator as BuildNumberSpec['operator'], number: Number(digits) };
}

/** Tells whether a build number is what a spec asks for. */
export function matchesBuildNumber({ operator, number }: BuildNumberSpec, actual: number): boolean {
  switch (operator) {
    case '==':
      return actual === number;
    case '!=':
      return actual !== number;
    case '<':
      return actual < number;
    case '<=':
      return actual <= number;
    case '>':
      return actual > number;
    case '>=':
      return actual >= number;
  }
}
