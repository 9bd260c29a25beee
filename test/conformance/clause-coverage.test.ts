import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { allClauses, type Clause } from '#ferry/conformance/clauses.js';
import { ROOT } from '../support/ferry.js';
import { readDefects, readSpecFolder, SPEC, valuesOf } from './spec.js';

const ID = /(?<![\w./-])[a-z0-9-]+\/[A-Za-z0-9-]*[A-Za-z0-9](?![\w/-])/g;
const TEST_FUNCTIONS: ReadonlySet<string> = new Set(['it', 'test', 'describe']);

/** Clauses that bind others, with the reason why nothing here keeps them so far. */
const OF_OTHERS: Readonly<
  Partial<Record<Clause['binds'], { readonly why: string; readonly clauses: readonly string[] }>>
> = {
  client: {
    why: 'nothing here installs, solves or builds; `pull` names archives by the key of their record, since a `url` may end otherwise',
    clauses: ['cep151/basename', 'cep21/absent-is-unknown', 'cep21/patched-source', 'cep42/cycles'],
  },
  server: {
    why: 'there is no command yet that takes uploads or publishes attestations',
    clauses: ['cep142/order', 'cep142/retained', 'cep27/server-verifies'],
  },
  verifier: {
    why: 'there is no `verify-attestation` command yet; `check` looks at what attestations say, not at signatures',
    clauses: [
      'cep142/client-verifies',
      'cep27/verify-digest',
      'cep27/verify-name',
      'cep27/verify-predicate-type',
    ],
  },
};

/** Clauses that bind what is here and are not kept: to be done, and then to be taken out of this list. */
const NOT_KEPT: Readonly<Record<string, string>> = {};

const clauses = allClauses();
const defects = readDefects().flatMap((file) => file.defects);

function parseFolder(folder: string, suffix: string): ts.SourceFile[] {
  const path = join(ROOT, folder);
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(suffix))
    .map((file) =>
      ts.createSourceFile(file, readFileSync(join(path, file), 'utf8'), ts.ScriptTarget.Latest, true),
    );
}

function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  node.forEachChild((child) => {
    walk(child, visit);
  });
}

/** Text of string literals and of templates, whose values are left out. */
function textOf(node: ts.Node | undefined): string | undefined {
  if (node === undefined) return undefined;
  if (ts.isStringLiteralLike(node)) return node.text;
  if (!ts.isTemplateExpression(node)) return undefined;
  return [node.head.text, ...node.templateSpans.map(({ literal }) => literal.text)].join('…');
}

/** Ids that stand as string literals of their own in the rules, and what the schemas name that they use. */
function findRules(): Set<string> {
  const rules = new Set<string>();
  for (const file of parseFolder('src/conformance', '.ts')) {
    walk(file, (node) => {
      if (ts.isStringLiteralLike(node)) rules.add(node.text);
      if (ts.isTypeAliasDeclaration(node) && node.name.text === 'DocumentKind') {
        for (const kind of literalsOf(node.type)) for (const id of clausesOfSchema(kind)) rules.add(id);
      }
    });
  }
  return rules;
}

function literalsOf(type: ts.TypeNode): string[] {
  if (ts.isUnionTypeNode(type)) return type.types.flatMap(literalsOf);
  return ts.isLiteralTypeNode(type) && ts.isStringLiteral(type.literal) ? [type.literal.text] : [];
}

function clausesOfSchema(kind: string): string[] {
  const file = join(SPEC, 'schemas', `${kind}.schema.json`);
  if (!existsSync(file)) return [];
  return [...valuesOf(JSON.parse(readFileSync(file, 'utf8')), 'x-clause')].map(String);
}

/** Ids in titles of tests that are run, those that a table puts first into its titles included. */
function findTested(): Set<string> {
  const tested = new Set<string>();
  for (const file of parseFolder('test', '.test.ts')) {
    walk(file, (node) => {
      if (!ts.isCallExpression(node)) return;
      const called = calleeOf(node.expression);
      if (called === undefined) return;
      const title = textOf(node.arguments[0]) ?? '';
      const first = /^(?:%s|\$)/.test(title) ? firstColumnOf(called.table) : [];
      for (const text of [title, ...first]) for (const [id] of text.matchAll(ID)) tested.add(id);
    });
  }
  return tested;
}

/** What is called, if it makes tests: `test`, `describe.skipIf(…)`, `test.each(table)`; not what is left out. */
function calleeOf(callee: ts.Expression): { readonly table: ts.Expression | undefined } | undefined {
  let node = callee;
  let table: ts.Expression | undefined;
  for (;;) {
    if (ts.isIdentifier(node)) return TEST_FUNCTIONS.has(node.text) ? { table } : undefined;
    if (ts.isCallExpression(node)) {
      table ??= node.arguments[0];
      node = node.expression;
    } else if (ts.isPropertyAccessExpression(node)) {
      if (node.name.text === 'skip' || node.name.text === 'todo') return undefined;
      node = node.expression;
    } else return undefined;
  }
}

function firstColumnOf(table: ts.Expression | undefined): string[] {
  if (table === undefined) return [];
  if (ts.isAsExpression(table)) return firstColumnOf(table.expression);
  if (!ts.isArrayLiteralExpression(table)) return [];
  return table.elements.flatMap((row) => {
    const cell = ts.isArrayLiteralExpression(row) ? row.elements[0] : row;
    return textOf(cell) ?? [];
  });
}

/** Clauses and defects that a vector's case names. */
function findInVectors(): Set<string> {
  const files = readSpecFolder('vectors').map(
    ({ content }) => content as { readonly cases: readonly { readonly clauses: readonly string[] }[] },
  );
  return new Set(files.flatMap(({ cases }) => cases.flatMap((one) => one.clauses)));
}

describe('the specification is held by rules and tests', () => {
  const rules = findRules();
  const tested = findTested();

  const binding = clauses.filter(({ level }) => level === 'MUST' || level === 'MUST NOT');
  // Each case of a vector is run by `artifact/vectors.test.ts` or `manifest-vectors.test.ts`.
  const vectors = findInVectors();
  const uncovered = binding.filter(({ id }) => !rules.has(id) && !tested.has(id) && !vectors.has(id));

  test('each clause that binds what is here has a rule, or a test that names it', () => {
    const own = uncovered.filter(({ binds }) => OF_OTHERS[binds] === undefined);
    expect(own.map(({ id }) => id).sort()).toEqual(Object.keys(NOT_KEPT).sort());
  });

  test.each(Object.entries(OF_OTHERS))(
    'of the clauses that bind a %s those that nothing keeps are known',
    (party, { clauses: known }) => {
      const others = uncovered.filter(({ binds }) => binds === party);
      expect(others.map(({ id }) => id).sort()).toEqual(known);
    },
  );

  test('each defect that can be shown has a test that names it, or a vector', () => {
    const shown = defects.filter(({ shown }) => shown).map(({ id }) => id);
    expect(shown.filter((id) => !tested.has(id) && !vectors.has(id))).toEqual([]);
  });

  test('rules, tests and vectors name nothing that is not there', () => {
    const known = new Set<string>([...clauses, ...defects].map(({ id }) => id));
    const documents = new Set([...clauses, ...defects].map(({ id }) => id.slice(0, id.indexOf('/'))));
    const named = [...rules, ...tested, ...vectors].filter((text) => {
      const [document = '', name, ...rest] = text.split('/');
      return (
        documents.has(document) && name !== undefined && /^[A-Za-z0-9-]+$/.test(name) && rest.length === 0
      );
    });
    expect(named.filter((id) => !known.has(id))).toEqual([]);
  });
});
