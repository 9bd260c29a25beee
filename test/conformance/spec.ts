import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';
import { z } from 'zod';
import { ROOT } from '../support/ferry.js';

/** The folder with the specification as data. */
export const SPEC = join(ROOT, 'spec');

const counterExampleSchema = z.strictObject({
  cases: z
    .array(
      z.strictObject({
        input: z.unknown(),
        actual: z.unknown().optional(),
        expected: z.record(z.string(), z.unknown()),
      }),
    )
    .nonempty(),
});

const defectSchema = z.strictObject({
  id: z.string().regex(/^[a-z0-9-]+\/[A-Z]\d+$/),
  clauses: z.array(z.string()),
  defect: z.string().min(1),
  counterExample: counterExampleSchema.optional(),
  decision: z.string().min(1),
  shown: z.boolean(),
});

const defectsSchema = z.strictObject({
  document: z.string(),
  title: z.string(),
  url: z.url(),
  revision: z.string(),
  defects: z.array(defectSchema),
});

/** One file of `spec/defects/`. */
export type DefectsFile = z.infer<typeof defectsSchema>;

/** Parses the JSON files of a folder of the specification; none where there is no such folder. */
export function readSpecFolder(
  folder: string,
): readonly { readonly name: string; readonly content: unknown }[] {
  const path = join(SPEC, folder);
  if (!existsSync(path)) return [];
  return readdirSync(path)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => ({ name, content: JSON.parse(readFileSync(join(path, name), 'utf8')) as unknown }));
}

/** All files of known defects. */
export function readDefects(): readonly DefectsFile[] {
  return readSpecFolder('defects').map(({ content }) => defectsSchema.parse(content));
}

/** Values of a key, wherever it stands in a document. */
export function* valuesOf(document: unknown, key: string): Generator {
  if (typeof document !== 'object' || document === null) return;
  for (const [name, value] of Object.entries(document)) {
    if (name === key) yield value;
    yield* valuesOf(value, key);
  }
}

/** Strict, so that a keyword with a typing error in it is found; but for what the schemas say on purpose. */
const ajv = new Ajv2020({
  strict: true,
  strictRequired: false,
  allErrors: true,
  verbose: true,
  validateFormats: false,
});
ajv.addKeyword('x-clause');

/**
 * Compiles a schema of `spec/schemas/` and returns what finds the breaches in a document: each as clause and JSON
 * pointer, such as `v1/P5 /layers`, those of one clause at one place once.
 */
export function breachesOf(kind: string): (document: unknown) => readonly string[] {
  const schema = JSON.parse(readFileSync(join(SPEC, 'schemas', `${kind}.schema.json`), 'utf8')) as object;
  const validate = ajv.compile(schema);
  const clauses = new Map<unknown, string>();
  noteClauses(schema, 'none', clauses);
  return (document) => {
    validate(document);
    // The error says that none of the elements will do; why each of them would not says nothing more.
    const errors = (validate.errors ?? []).filter(
      ({ keyword, schemaPath }) => keyword !== 'if' && !schemaPath.includes('/contains/'),
    );
    return [...new Set(errors.map((error) => `${clauseOfError(error, clauses)} ${error.instancePath}`))];
  };
}

/** Notes for each part of a schema the nearest clause around it. Paths would not do: those of a `$ref` start anew. */
function noteClauses(node: unknown, around: string, clauses: Map<unknown, string>): void {
  if (typeof node !== 'object' || node === null) return;
  const own = (node as Record<string, unknown>)['x-clause'];
  const clause = typeof own === 'string' ? own : around;
  clauses.set(node, clause);
  for (const part of Object.values(node)) noteClauses(part, clause, clauses);
}

function clauseOfError(
  { keyword, params, parentSchema }: ErrorObject,
  clauses: ReadonlyMap<unknown, string>,
): string | undefined {
  const properties = parentSchema?.['properties'] as Record<string, unknown> | undefined;
  const missing = keyword === 'required' ? properties?.[String(params['missingProperty'])] : undefined;
  return clauses.get(missing) ?? clauses.get(parentSchema?.[keyword]) ?? clauses.get(parentSchema);
}
