import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { ROOT } from '../support/ferry.js';

/** Entries of the package and what stands behind them. */
const ENTRIES: Readonly<Record<string, string>> = {
  'conda-ferry': 'dist/index.d.ts',
  'conda-ferry/oci': 'dist/oci.d.ts',
};

interface Snippet {
  readonly document: string;
  readonly number: number;
  readonly code: string;
}

const snippets = ['README.md', 'docs/registry-client.md', 'docs/match-specs.md', 'docs/decisions.md'].flatMap(
  (document): Snippet[] => {
    const text = readFileSync(join(ROOT, document), 'utf8');
    return [...text.matchAll(/^```(?:js|ts)\n([^]*?)^```$/gm)]
      .map(([, code = ''], index) => ({ document, number: index + 1, code }))
      .filter(({ code }) => code.includes("from 'conda-ferry"));
  },
);

/** Faults that the compiler finds in code which uses the package as its users do. */
function faultsOf(code: string): string[] {
  const file = join(ROOT, 'snippet.ts');
  const paths = Object.fromEntries(Object.entries(ENTRIES).map(([name, path]) => [name, [join(ROOT, path)]]));
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: ['node'],
    typeRoots: [join(ROOT, 'node_modules/@types')],
    paths,
  };
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile.bind(host);
  host.getSourceFile = (name, ...rest) =>
    name === file ? ts.createSourceFile(file, code, ts.ScriptTarget.ES2023, true) : read(name, ...rest);
  const exists = host.fileExists.bind(host);
  host.fileExists = (name) => name === file || exists(name);
  const program = ts.createProgram([file], options, host);
  const source = program.getSourceFile(file);
  return ts
    .getPreEmitDiagnostics(program, source)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}

test('documents show how the package is used', () => {
  expect(snippets.map(({ document }) => document)).toEqual(
    expect.arrayContaining(['README.md', 'docs/registry-client.md', 'docs/match-specs.md']),
  );
});

test.each(snippets)('$document: snippet $number fits what the package exports', ({ code }) => {
  expect(faultsOf(code)).toEqual([]);
});

test('a name that is not exported would be found', () => {
  expect(faultsOf("import { nothingOfTheKind } from 'conda-ferry/oci';\nvoid nothingOfTheKind;")).toEqual([
    expect.stringContaining('nothingOfTheKind'),
  ]);
});
