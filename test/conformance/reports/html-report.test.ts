import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatHtmlReport } from '#ferry/conformance/reports/html-report.js';
import { hostileReport } from './hostile.js';
import { expectBalanced, tagsOf, textOf, tokenize, type Token } from './markup.js';
import { sampleClause, sampleFinding, sampleReport } from './sample-report.js';

const DOCTYPE = '<!doctype html>\n';
const named = sampleClause('v1/N3', { subject: 'Names' });
const advised = sampleClause('v1/A2', { area: 'annotations', severity: 'warning', subject: 'Titles' });

function read(html: string): readonly Token[] {
  expect(html.startsWith(DOCTYPE)).toBe(true);
  const tokens = tokenize(html.slice(DOCTYPE.length));
  expectBalanced(tokens, ['meta', 'br']);
  return tokens;
}

describe('report as HTML', () => {
  const report = sampleReport({
    clauses: [named, advised],
    findings: [sampleFinding(named), sampleFinding(advised)],
    sample: { size: 10, of: 25_012, seed: '7f3a' },
    unchecked: [{ where: 'noarch/cjq:1.7-0', code: 'DENIED', message: 'the server refused' }],
  });

  test('says verdict, sample, areas, findings and what could not be checked', () => {
    const text = textOf(read(formatHtmlReport(report, { toolVersion: '1.2.3', madeAt: new Date(0) })));
    for (const part of [
      'Does not conform to schema v1',
      '1 error, 1 warning, 1 place not checked',
      '10 of 25\u00a0012, seed 7f3a',
      'annotations',
      'The text of v1/N3.',
      'noarch/czlib:1.3.1-h4ab18f5_1',
      'the server refused',
      'Made by conda-ferry 1.2.3, 1970-01-01T00:00:00Z',
    ]) {
      expect(text).toContain(part);
    }
  });

  test('loads nothing and runs nothing', () => {
    const tokens = read(formatHtmlReport(report));
    const policy = tagsOf(tokens, 'meta').find((tag) => tag.has('http-equiv'));
    expect(policy?.get('content')).toBe("default-src 'none'; style-src 'unsafe-inline'");
    for (const name of ['script', 'link', 'img', 'iframe', 'object', 'form'])
      expect(tagsOf(tokens, name)).toEqual([]);
    expect(textOf(tokens)).not.toMatch(/url\(|@import/);
  });

  test('few findings are open, many are closed, and only so many are on the page', () => {
    const findings = Array.from({ length: 1500 }, (_, i) =>
      sampleFinding(named, { where: `noarch/p:${i}-0` }),
    );
    const many = sampleReport({ clauses: [named, advised], findings: [...findings, sampleFinding(advised)] });
    const tokens = read(formatHtmlReport(many));
    const open = tagsOf(tokens, 'details').map((tag) => [tag.get('class'), tag.has('open')]);
    expect(open).toEqual([
      ['findings error', false],
      ['findings warning', true],
    ]);
    expect(tagsOf(tokens, 'li')).toHaveLength(1001);
    expect(textOf(tokens)).toContain('and 500 more, not on this page');
    const shorter = read(formatHtmlReport(many, { maxFindings: 600 }));
    expect(tagsOf(shorter, 'li')).toHaveLength(600);
    expect(textOf(shorter)).toContain('and 900 more');
    expect(textOf(shorter)).toContain('and 1 more');
  });

  test('cuts absurd text', () => {
    const findings = [sampleFinding(named, { found: 'x'.repeat(1_000_000) })];
    expect(formatHtmlReport(sampleReport({ clauses: [named], findings })).length).toBeLessThan(20_000);
  });

  test('is whole, whatever names hold', () => {
    const elements = new Set(
      read(formatHtmlReport(report)).flatMap((token) => (token.kind === 'text' ? [] : [token.name])),
    );
    elements.add('tfoot');
    fc.assert(
      fc.property(hostileReport, (hostile) => {
        const tokens = read(formatHtmlReport(hostile));
        for (const token of tokens)
          if (token.kind !== 'text') expect([...elements, 'section']).toContain(token.name);
        for (const token of tokens) {
          if (token.kind !== 'open') continue;
          expect([...token.attributes.keys()].filter((name) => name.startsWith('on'))).toEqual([]);
        }
        for (const link of tagsOf(tokens, 'a')) expect(link.get('href')).toMatch(/^https?:\/\//i);
      }),
    );
  });

  test('links to the text of a clause by http only', () => {
    const linked = (url: string) => {
      const clause = sampleClause('v1/N3', { document: { ...named.document, url } });
      return tagsOf(
        read(formatHtmlReport(sampleReport({ clauses: [clause], findings: [sampleFinding(clause)] }))),
        'a',
      ).map((tag) => tag.get('href'));
    };
    expect(linked('https://example.org/a?b&c')).toEqual(['https://example.org/a?b&c']);
    expect(linked('javascript:alert(1)')).toEqual([]);
  });
});
