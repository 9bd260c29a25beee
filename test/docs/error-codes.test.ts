import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { ERROR_CODES } from '#ferry/errors.js';
import { ROOT } from '../support/ferry.js';

const codes = Object.keys(ERROR_CODES);

interface Row {
  readonly code: string;
  readonly meaning: string;
  readonly exit: string;
  readonly advice: string;
}

function readTable(): Row[] {
  const text = readFileSync(join(ROOT, 'docs', 'errors.md'), 'utf8');
  const table = text.slice(text.indexOf('<!-- codes -->'), text.indexOf('<!-- end of codes -->'));
  return table
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => {
      const [code = '', meaning = '', exit = '', advice = ''] = line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim());
      return { code: code.replaceAll('`', ''), meaning, exit, advice };
    });
}

/** Code → files that make an error of it: the code stands there as a value, and not to be compared with. */
function findRaised(): Map<string, string[]> {
  const raised = new Map<string, string[]>();
  const folder = join(ROOT, 'src');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && file !== 'errors.ts',
  );
  for (const file of files) {
    const source = ts.createSourceFile(
      file,
      readFileSync(join(folder, file), 'utf8'),
      ts.ScriptTarget.Latest,
      true,
    );
    const visit = (node: ts.Node): void => {
      if (ts.isStringLiteral(node) && node.text in ERROR_CODES && isRaised(node)) {
        raised.set(node.text, [...(raised.get(node.text) ?? []), file]);
      }
      node.forEachChild(visit);
    };
    visit(source);
  }
  return raised;
}

const COMPARISONS: readonly ts.SyntaxKind[] = [
  ts.SyntaxKind.EqualsEqualsEqualsToken,
  ts.SyntaxKind.ExclamationEqualsEqualsToken,
];

function isRaised(literal: ts.StringLiteral): boolean {
  const { parent } = literal;
  if (ts.isLiteralTypeNode(parent) || ts.isArrayLiteralExpression(parent) || ts.isCaseClause(parent))
    return false;
  if (ts.isBinaryExpression(parent)) return !COMPARISONS.includes(parent.operatorToken.kind);
  return !(
    ts.isCallExpression(parent) && /^(?:isFerryError|isSystemError)$/.test(parent.expression.getText())
  );
}

describe('docs/errors.md', () => {
  const rows = readTable();

  test('lists every code once, with the meaning that the code gives', () => {
    expect(Object.fromEntries(rows.map(({ code, meaning }) => [code, meaning]))).toEqual(ERROR_CODES);
    expect(rows.map(({ code }) => code)).toEqual(codes);
  });

  test.each(rows)('says what $code ends in and what to do', ({ exit, advice }) => {
    expect(exit).toMatch(/^[0123](?: or [123])?$/);
    expect(advice).toMatch(/^[A-Z].+\.$/);
  });
});

describe('every code', () => {
  const raised = findRaised();

  test.each(codes)('%s is raised somewhere', (code) => {
    expect(raised.get(code) ?? [], `no file of src raises ${code}: take it out, or use it`).not.toEqual([]);
  });

  test.each(codes)('%s has a meaning of one line, lower case, without a final period', (code) => {
    expect(ERROR_CODES[code as keyof typeof ERROR_CODES]).toMatch(/^[a-z`][^\n]*[^.\n]$/);
  });
});
