/**
 * Documents against the JSON Schemas of `spec/schemas/`. Each part of a schema names the clause it stands for as
 * `x-clause`; a breach is reported under the nearest one.
 */
import { readFileSync } from 'node:fs';
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import { shorten } from '../conda/archive/member-path.js';
import type { CheckLog } from './check-log.js';
import type { ClauseId } from './clauses.js';

const FOLDER = new URL('../../spec/schemas/', import.meta.url);

/** A JSON Schema in `spec/schemas/`, by its file name without `.schema.json`. */
export type DocumentKind =
  | 'channeldata'
  | 'index-json'
  | 'notices'
  | 'package-record'
  | 'paths-json'
  | 'patch-instructions'
  | 'publish-attestation'
  | 'repodata'
  | 'run-exports';

interface Validator {
  readonly validate: ValidateFunction;
  /** Stops at the first breach: each breach takes more memory than the value that it is of. */
  readonly validateToFirst: ValidateFunction;
  /** For each part of the schema the nearest clause around it. Paths would not do: those of a `$ref` start anew. */
  readonly clauseAt: ReadonlyMap<unknown, ClauseId>;
  readonly clauses: ReadonlySet<ClauseId>;
}

const ajvOptions = { verbose: true, strict: false, validateFormats: false, logger: false } as const;
const ajv = new Ajv2020({ ...ajvOptions, allErrors: true });
const ajvToFirst = new Ajv2020(ajvOptions);
/** Values that are validated at once, with all breaches. */
const MAX_VALUES_AT_ONCE = 20_000;
const validators = new Map<DocumentKind, Validator>();

const TYPES: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'true or false',
  integer: 'a whole number',
  null: 'null',
  number: 'a number',
  object: 'an object',
  string: 'text',
};

/**
 * Checks a parsed document and takes down every breach.
 * @param where the document's place, such as `noarch/repodata.json` or a record's,
 * `noarch/repodata.json#/packages/zlib-1.2.11-0.tar.bz2`; the JSON pointer of a breach is added to it. Of a part with
 * very many values only the first breach is told.
 * @returns whether nothing was found
 */
export function checkDocument(kind: DocumentKind, value: unknown, where: string, log: CheckLog): boolean {
  const validator = validatorOf(kind);
  const { clauseAt, clauses } = validator;
  const broken = new Set<ClauseId>();
  for (const error of errorsOf(value, validator)) {
    const clause = clauseOfError(error, clauseAt);
    // Says no more than the errors of the branch that was taken.
    if (clause === undefined || error.keyword === 'if') continue;
    broken.add(clause);
    log.report(clause, {
      where: pointer(where, error.instancePath),
      found: foundBy(error),
      expected: expectedBy(error),
    });
  }
  for (const clause of clauses) if (!broken.has(clause)) log.expect(clause, true, neverCalled);
  return broken.size === 0;
}

/**
 * Validates a document, a large one part by part: what is wrong with a million values does not fit into memory.
 */
function* errorsOf(value: unknown, validator: Validator): Generator<ErrorObject> {
  if (!isObject(value) || countValues(value, MAX_VALUES_AT_ONCE) <= MAX_VALUES_AT_ONCE) {
    yield* errorsAtOnce(value, validator);
    return;
  }
  const members = Object.entries(value);
  const outline = members.map(([key, member]) => [key, isObject(member) ? {} : member] as const);
  yield* errorsAtOnce(Object.fromEntries(outline), validator);
  // What a part may hold can depend on them, as on a version.
  const scalars = members.filter(([, member]) => typeof member !== 'object');
  for (const [key, member] of members) {
    if (!isObject(member)) continue;
    for (const part of partsOf(member)) {
      const document = Object.fromEntries([...scalars, [key, part]]);
      const inside = `/${key.replaceAll('~', '~0').replaceAll('/', '~1')}/`;
      for (const error of errorsAtOnce(document, validator))
        if (error.instancePath.startsWith(inside)) yield error;
    }
  }
}

function errorsAtOnce(value: unknown, { validate, validateToFirst }: Validator): readonly ErrorObject[] {
  const isLarge = countValues(value, MAX_VALUES_AT_ONCE) > MAX_VALUES_AT_ONCE;
  const run = isLarge ? validateToFirst : validate;
  run(value);
  const errors = run.errors ?? [];
  run.errors = null;
  return errors;
}

/** Splits an object into such as can be validated at once; a member that is too large for that is a part by itself. */
function* partsOf(whole: object): Generator<object> {
  let part: (readonly [string, unknown])[] = [];
  let values = 0;
  for (const [key, member] of Object.entries(whole)) {
    const own = countValues(member, MAX_VALUES_AT_ONCE);
    if (values + own > MAX_VALUES_AT_ONCE && part.length > 0) {
      yield Object.fromEntries(part);
      part = [];
      values = 0;
    }
    part.push([key, member]);
    values += own;
  }
  if (part.length > 0) yield Object.fromEntries(part);
}

/** Counts values down to the innermost, and stops soon after `max`. */
function countValues(value: unknown, max: number): number {
  if (typeof value !== 'object' || value === null) return 1;
  let values = 1;
  const members: Readonly<Record<string, unknown>> | readonly unknown[] = value as Readonly<
    Record<string, unknown>
  >;
  for (const key in members) {
    values += countValues(members[key], max - values);
    if (values > max) break;
  }
  return values;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function validatorOf(kind: DocumentKind): Validator {
  const known = validators.get(kind);
  if (known !== undefined) return known;
  const schema = JSON.parse(readFileSync(new URL(`${kind}.schema.json`, FOLDER), 'utf8')) as object;
  const clauseAt = new Map<unknown, ClauseId>();
  noteClauses(schema, undefined, clauseAt);
  const validator: Validator = {
    validate: ajv.compile(schema),
    validateToFirst: ajvToFirst.compile(schema),
    clauseAt,
    clauses: new Set(clauseAt.values()),
  };
  validators.set(kind, validator);
  return validator;
}

function noteClauses(node: unknown, around: ClauseId | undefined, clauseAt: Map<unknown, ClauseId>): void {
  if (typeof node !== 'object' || node === null) return;
  const own = (node as Readonly<Record<string, unknown>>)['x-clause'];
  const clause = typeof own === 'string' ? (own as ClauseId) : around;
  if (clause !== undefined) clauseAt.set(node, clause);
  for (const part of Object.values(node)) noteClauses(part, clause, clauseAt);
}

/** The nearest clause around what failed; of a missing property, the property's own. */
function clauseOfError(
  { keyword, params, parentSchema }: ErrorObject,
  clauseAt: ReadonlyMap<unknown, ClauseId>,
): ClauseId | undefined {
  const properties = parentSchema?.['properties'] as Readonly<Record<string, unknown>> | undefined;
  const missing = keyword === 'required' ? properties?.[String(params['missingProperty'])] : undefined;
  return clauseAt.get(missing) ?? clauseAt.get(parentSchema);
}

function pointer(where: string, path: string): string {
  // The place may be a part of a larger document already.
  return path === '' || where.includes('#') ? `${where}${path}` : `${where}#${path}`;
}

function foundBy({ keyword, params, data }: ErrorObject): string {
  if (keyword === 'required') return `no \`${String(params['missingProperty'])}\``;
  if (keyword === 'additionalProperties') return `\`${shorten(String(params['additionalProperty']))}\``;
  if (Array.isArray(data)) return data.length === 0 ? 'an empty list' : `a list of ${String(data.length)}`;
  if (typeof data === 'object' && data !== null) return 'an object';
  return data === undefined ? 'nothing' : shorten(JSON.stringify(data));
}

function expectedBy({ keyword, params, message, schema }: ErrorObject): string {
  switch (keyword) {
    case 'type':
      return [schema]
        .flat()
        .map((type) => TYPES[String(type)] ?? String(type))
        .join(' or ');
    case 'enum':
      return `one of ${JSON.stringify(schema)}`;
    case 'const':
      return JSON.stringify(schema);
    case 'required':
      return `\`${String(params['missingProperty'])}\``;
    case 'additionalProperties':
      return 'no such key';
    case 'pattern':
      return `text that matches \`${String(schema)}\``;
    case 'maxLength':
      return `at most ${String(schema)} characters`;
    case 'minimum':
      return `at least ${String(schema)}`;
    case 'maximum':
      return `at most ${String(schema)}`;
    default:
      return (message ?? keyword).replace(/^must /, '');
  }
}

function neverCalled(): never {
  throw new Error('nothing to report');
}
