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
  /** For each part of the schema the nearest clause around it. Paths would not do: those of a `$ref` start anew. */
  readonly clauseAt: ReadonlyMap<unknown, ClauseId>;
  readonly clauses: ReadonlySet<ClauseId>;
}

const ajv = new Ajv2020({
  allErrors: true,
  verbose: true,
  strict: false,
  validateFormats: false,
  logger: false,
});
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
 * `noarch/repodata.json#/packages/zlib-1.2.11-0.tar.bz2`; the JSON pointer of a breach is added to it
 * @returns whether nothing was found
 */
export function checkDocument(kind: DocumentKind, value: unknown, where: string, log: CheckLog): boolean {
  const { validate, clauseAt, clauses } = validatorOf(kind);
  validate(value);
  const broken = new Set<ClauseId>();
  for (const error of validate.errors ?? []) {
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

function validatorOf(kind: DocumentKind): Validator {
  const known = validators.get(kind);
  if (known !== undefined) return known;
  const schema = JSON.parse(readFileSync(new URL(`${kind}.schema.json`, FOLDER), 'utf8')) as object;
  const clauseAt = new Map<unknown, ClauseId>();
  noteClauses(schema, undefined, clauseAt);
  const validator = { validate: ajv.compile(schema), clauseAt, clauses: new Set(clauseAt.values()) };
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
