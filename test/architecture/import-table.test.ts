import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../support/ferry.js';
import { importTable } from './import-table.mjs';

const MAX_LINES = 400;
const FORBIDDEN_NAME = /^(?:utils?|helpers?|common|types?|shared|misc)$/;
/** Files of `src` itself: the entries, which may import everything but the command line, and the errors. */
const ENTRIES: readonly string[] = ['index.ts', 'oci.ts', 'gateway.ts', 'queue.ts'];
const OPEN_TO_ALL: readonly string[] = ['errors.ts', 'io'];

const SRC = join(ROOT, 'src');
const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .map((file) => file.replaceAll('\\', '/'))
  .filter((file) => file.endsWith('.ts'))
  .sort();
const texts = new Map(files.map((file) => [file, readFileSync(join(SRC, file), 'utf8')]));

interface Import {
  readonly from: string;
  /** Path in `src`, or a specifier such as `node:fs`. */
  readonly to: string;
  readonly isLocal: boolean;
  readonly isTypeOnly: boolean;
}

/** All imports of a file: types, re-exports, `import()` of values and of types. */
function importsOf(file: string, text: string): Import[] {
  const imports: Import[] = [];
  const add = (specifier: ts.Node | undefined, isTypeOnly: boolean): void => {
    if (specifier === undefined) return;
    if (!ts.isStringLiteralLike(specifier))
      throw new Error(`${file} imports what is not written there: ${specifier.getText()}`);
    const isLocal = /^(?:\.|\/|#)/.test(specifier.text);
    const to = specifier.text.startsWith('.')
      ? posix.normalize(posix.join(dirname(file), specifier.text)).replace(/\.js$/, '.ts')
      : specifier.text;
    imports.push({ from: file, to, isLocal, isTypeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node))
      add(
        node.moduleSpecifier,
        node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword || importsTypesOnly(node),
      );
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isImportTypeNode(node))
      add(ts.isLiteralTypeNode(node.argument) ? node.argument.literal : node.argument, true);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0], false);
    node.forEachChild(visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
  return imports;
}

function importsTypesOnly({ importClause }: ts.ImportDeclaration): boolean {
  const bindings = importClause?.namedBindings;
  if (importClause?.name !== undefined || bindings === undefined || !ts.isNamedImports(bindings))
    return false;
  return bindings.elements.length > 0 && bindings.elements.every(({ isTypeOnly }) => isTypeOnly);
}

const imports = files.flatMap((file) => importsOf(file, texts.get(file) ?? ''));
const localImports = imports.filter(({ isLocal }) => isLocal);

/** A folder of `src`, or a file that lies in none. */
function unitOf(path: string): string {
  const slash = path.indexOf('/');
  return slash === -1 ? path : path.slice(0, slash);
}

function mayImport(from: string, to: string): boolean {
  if (from === 'errors.ts') return false;
  if (from === to || OPEN_TO_ALL.includes(to)) return true;
  if (ENTRIES.includes(from)) return to !== 'cli' && (to in importTable || ENTRIES.includes(to));
  return importTable[from]?.includes(to) === true;
}

/** A way through the imports from some file back to itself, if there is one. */
function findCycle(graph: ReadonlyMap<string, readonly string[]>): readonly string[] | undefined {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): readonly string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const next of graph.get(file) ?? []) {
      const cycle = visit(next, [...path, file]);
      if (cycle !== undefined) return cycle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of graph.keys()) {
    const cycle = visit(file, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

describe('imports', () => {
  test('are found in whatever way they are written', () => {
    const text = [
      "import a, { type B } from './a.js';",
      "import type { C } from '../oci/c.js';",
      "import { type D, type E } from '../io/d.js';",
      "import './side.js';",
      "export { f } from './f.js';",
      "export type { G } from './g.js';",
      "export * from '../conda/h.js';",
      "type I = import('../cli/i.js').I;",
      "const j = await import('../http/j.js');",
      "import { readFile } from 'node:fs/promises';",
    ].join('\n');
    expect(importsOf('mirror/x.ts', text).map(({ to, isTypeOnly }) => [to, isTypeOnly])).toEqual([
      ['mirror/a.ts', false],
      ['oci/c.ts', true],
      ['io/d.ts', true],
      ['mirror/side.ts', false],
      ['mirror/f.ts', false],
      ['mirror/g.ts', true],
      ['conda/h.ts', false],
      ['cli/i.ts', true],
      ['http/j.ts', false],
      ['node:fs/promises', false],
    ]);
  });

  test('lead to files that are there, by relative paths with `.js`', () => {
    expect(localImports.filter(({ to }) => !texts.has(to)).map(({ from, to }) => `${from} → ${to}`)).toEqual(
      [],
    );
    expect(localImports.length).toBeGreaterThan(100);
  });

  test('keep to the table of folders, types included', () => {
    const wrong = localImports.filter(({ from, to }) => !mayImport(unitOf(from), unitOf(to)));
    expect(wrong.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
  });

  test('are none in errors.ts', () => {
    expect(imports.filter(({ from }) => from === 'errors.ts')).toEqual([]);
  });

  test('go in no circle between files, types aside', () => {
    const graph = new Map(
      files.map((file) => [
        file,
        localImports.filter(({ from, isTypeOnly }) => from === file && !isTypeOnly).map(({ to }) => to),
      ]),
    );
    expect(findCycle(graph)).toBeUndefined();
    expect(
      findCycle(
        new Map([
          ['a', ['b']],
          ['b', ['c', 'd']],
          ['d', ['b']],
        ]),
      ),
    ).toEqual(['b', 'd', 'b']);
  });
});

describe('the table', () => {
  test('has every folder of src, and no file lies beside them but the entries and the errors', () => {
    const units = new Set(files.map(unitOf));
    for (const file of ['errors.ts', ...ENTRIES]) units.delete(file);
    expect([...units].filter((unit) => !(unit in importTable))).toEqual([]);
  });

  test('goes in no circle between folders, and lets nothing import the command line', () => {
    expect(findCycle(new Map(Object.entries(importTable)))).toBeUndefined();
    expect(Object.values(importTable).flat()).not.toContain('cli');
    for (const folder of Object.values(importTable).flat()) expect(importTable).toHaveProperty([folder]);
  });
});

describe('files', () => {
  test.each(files)('%s has at most 400 lines', (file) => {
    expect((texts.get(file) ?? '').trimEnd().split('\n').length).toBeLessThanOrEqual(MAX_LINES);
  });

  test('and folders are named by their noun or verb, in kebab case', () => {
    for (const file of files) {
      for (const part of file.replace(/\.ts$/, '').split('/')) {
        expect(part, file).toMatch(/^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/);
        expect(part, file).not.toMatch(FORBIDDEN_NAME);
      }
    }
  });
});
