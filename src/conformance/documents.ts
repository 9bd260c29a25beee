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
  | 'repodata'
  | 'run-exports';

interface Validator {
  readonly validate: ValidateFunction;
  readonly schema: object;
  readonly clauses: readonly ClauseId[];
}

const ajv = new Ajv2020({ allErrors: true, strict: false, validateFormats: false, logger: false });
const validators = new Map<DocumentKind, Validator>();

/**
 * Checks a parsed document and takes down every breach.
 * @param where the document's place, such as `noarch/repodata.json` or a record's,
 * `noarch/repodata.json#/packages/zlib-1.2.11-0.tar.bz2`; the JSON pointer of a breach is added to it
 * @returns whether nothing was found
 */
export function checkDocument(kind: DocumentKind, value: unknown, where: string, log: CheckLog): boolean {
  const { validate, schema, clauses } = validatorOf(kind);
  validate(value);
  const broken = new Set<ClauseId>();
  for (const error of validate.errors ?? []) {
    const clause = clauseAt(schema, error);
    // Says no more than the errors of the branch that was taken.
    if (clause === undefined || error.keyword === 'if') continue;
    broken.add(clause);
    log.report(clause, {
      where: pointer(where, error.instancePath),
      found: foundIn(value, error),
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
  const validator = { validate: ajv.compile(schema), schema, clauses: [...new Set(clausesIn(schema))] };
  validators.set(kind, validator);
  return validator;
}

function* clausesIn(schema: unknown): Generator<ClauseId> {
  if (typeof schema !== 'object' || schema === null) return;
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'x-clause') yield value as ClauseId;
    else yield* clausesIn(value);
  }
}

/** The nearest `x-clause` on the way to what failed; of a missing property, the property's own. */
function clauseAt(root: object, error: ErrorObject): ClauseId | undefined {
  let node: unknown = root;
  let clause = ownClause(root);
  for (const step of error.schemaPath.replace(/^[^#]*#\/?/, '').split('/')) {
    if (error.keyword === 'required' && step === 'required') {
      const { missingProperty } = error.params as { readonly missingProperty: string };
      clause = ownClause(child(child(node, 'properties'), missingProperty)) ?? clause;
    }
    node = child(node, decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~'));
    clause = ownClause(node) ?? clause;
  }
  return clause;
}

function ownClause(node: unknown): ClauseId | undefined {
  const clause = child(node, 'x-clause');
  return typeof clause === 'string' ? (clause as ClauseId) : undefined;
}

function child(node: unknown, key: string): unknown {
  if (typeof node !== 'object' || node === null || !Object.hasOwn(node, key)) return undefined;
  return (node as Record<string, unknown>)[key];
}

function pointer(where: string, path: string): string {
  // The place may be a part of a larger document already.
  return path === '' || where.includes('#') ? `${where}${path}` : `${where}#${path}`;
}

function foundIn(document: unknown, { instancePath, keyword, params }: ErrorObject): string {
  if (keyword === 'required') return `no \`${String(params['missingProperty'])}\``;
  if (keyword === 'additionalProperties') return `\`${String(params['additionalProperty'])}\``;
  if (keyword === 'propertyNames') return `\`${String(params['propertyName'])}\``;
  const steps = instancePath.split('/').slice(1);
  const value = steps.reduce(
    (node, step) => child(node, step.replaceAll('~1', '/').replaceAll('~0', '~')),
    document,
  );
  return shorten(value === undefined ? 'nothing' : JSON.stringify(value));
}

function expectedBy({ keyword, params, message }: ErrorObject): string {
  if (keyword === 'enum') return `one of ${JSON.stringify(params['allowedValues'])}`;
  if (keyword === 'const') return JSON.stringify(params['allowedValue']);
  if (keyword === 'required') return `\`${String(params['missingProperty'])}\` to be there`;
  if (keyword === 'additionalProperties') return 'no such key';
  return (message ?? keyword).replace(/^must /, '');
}

function neverCalled(): never {
  throw new Error('nothing to report');
}
