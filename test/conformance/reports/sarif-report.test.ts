import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CheckReport } from '#ferry/conformance/report.js';
import { sarifDocument } from '#ferry/conformance/reports/sarif-report.js';
import { hostileReport } from './hostile.js';
import { sampleClause, sampleFinding, sampleReport } from './sample-report.js';

const named = sampleClause('v1/N3', { subject: 'Names' });
const advised = sampleClause('v1/A2', { area: 'annotations', severity: 'warning' });
const open = sampleClause('v1/L9', { area: 'layers', severity: 'info' });

function run(report: CheckReport, base?: string) {
  return sarifDocument(report, { toolVersion: '1.2.3', base }).runs[0];
}

function uriOf(where: string, target = 'oci://ghcr.io/org/channel', base?: string) {
  const report = sampleReport({ target, clauses: [named], findings: [sampleFinding(named, { where })] });
  return run(report, base).results[0]?.locations[0].physicalLocation.artifactLocation.uri;
}

describe('report as SARIF', () => {
  test('has a rule per clause and a result per finding', () => {
    const report = sampleReport({
      clauses: [named],
      findings: [sampleFinding(named, { hint: 'push it again' })],
    });
    expect(JSON.stringify(sarifDocument(report, { toolVersion: '1.2.3' }), undefined, 2))
      .toMatchInlineSnapshot(`
      "{
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [
          {
            "tool": {
              "driver": {
                "name": "conda-ferry",
                "version": "1.2.3",
                "rules": [
                  {
                    "id": "v1/N3",
                    "shortDescription": {
                      "text": "Names"
                    },
                    "fullDescription": {
                      "text": "The text of \`v1/N3\`."
                    },
                    "help": {
                      "text": "MUST: The text of \`v1/N3\`.\\n\\nCEP draft: conda channels in OCI registries (2025-04-01), section \\"Names\\""
                    },
                    "helpUri": "https://example.org/ceps/oci%20storage",
                    "defaultConfiguration": {
                      "level": "error"
                    },
                    "properties": {
                      "tags": [
                        "conda",
                        "names"
                      ],
                      "precision": "very-high",
                      "problem.severity": "error"
                    }
                  }
                ]
              }
            },
            "automationDetails": {
              "id": "conda-ferry/ghcr.io/org/channel/"
            },
            "invocations": [
              {
                "executionSuccessful": true,
                "toolExecutionNotifications": [
                  {
                    "level": "note",
                    "message": {
                      "text": "does not conform to schema v1: 12 archives in 10 artifacts, 1 clause checked, 1 error, 0 warnings"
                    }
                  }
                ]
              }
            ],
            "results": [
              {
                "ruleId": "v1/N3",
                "ruleIndex": 0,
                "level": "error",
                "message": {
                  "text": "noarch/czlib:1.3.1-h4ab18f5_1: found \`zlib\`, expected \`czlib\`. push it again"
                },
                "locations": [
                  {
                    "physicalLocation": {
                      "artifactLocation": {
                        "uri": "ghcr.io/org/channel/noarch/czlib%3A1.3.1-h4ab18f5_1"
                      },
                      "region": {
                        "startLine": 1
                      }
                    },
                    "logicalLocations": [
                      {
                        "fullyQualifiedName": "noarch/czlib:1.3.1-h4ab18f5_1"
                      }
                    ]
                  }
                ],
                "partialFingerprints": {
                  "primaryLocationLineHash": "58df5549bccdf85f26cd7c6d9a92951b:1"
                }
              }
            ],
            "columnKind": "utf16CodeUnits"
          }
        ]
      }"
    `);
  });

  test('levels are those of the clauses, and each result points to its rule', () => {
    const clauses = [named, advised, open];
    const { tool, results } = run(
      sampleReport({ clauses, findings: clauses.map((clause) => sampleFinding(clause)) }),
    );
    expect(results.map(({ ruleId, level }) => [ruleId, level])).toEqual([
      ['v1/N3', 'error'],
      ['v1/A2', 'warning'],
      ['v1/L9', 'note'],
    ]);
    for (const { ruleId, ruleIndex } of results) expect(tool.driver.rules[ruleIndex]?.id).toBe(ruleId);
  });

  test('places are relative URIs below the target', () => {
    expect(uriOf('noarch/czlib:1.3.1-0')).toBe('ghcr.io/org/channel/noarch/czlib%3A1.3.1-0');
    expect(uriOf('noarch/repodata.json#/packages/a#b')).toBe('ghcr.io/org/channel/noarch/repodata.json');
    expect(uriOf('noarch/repodata.json', './dist/channel')).toBe('dist/channel/noarch/repodata.json');
    expect(uriOf('noarch/repodata.json', 'file:///srv/channel')).toBe('srv/channel/noarch/repodata.json');
    expect(uriOf('noarch/repodata.json', 'oci-layout:./channel')).toBe('channel/noarch/repodata.json');
    expect(uriOf('noarch/repodata.json', 'file:///srv/channel', 'packages')).toBe(
      'packages/noarch/repodata.json',
    );
    expect(uriOf('../../etc/a b', './x')).toBe('x/etc/a%20b');
  });

  test('what a target ends with is not said twice', () => {
    expect(uriOf('jq-1.7-0.conda#/name', './dist/jq-1.7-0.conda')).toBe('dist/jq-1.7-0.conda');
    expect(uriOf('noarch/cjq:1.7-0', 'oci://ghcr.io/org/channel/noarch')).toBe(
      'ghcr.io/org/channel/noarch/cjq%3A1.7-0',
    );
    expect(uriOf('dist/jq-1.7-0.conda', './dist/jq-1.7-0.conda')).toBe('dist/jq-1.7-0.conda');
  });

  test('fingerprints stay the same from run to run, and tell findings of one place apart', () => {
    const findings = [
      sampleFinding(named),
      sampleFinding(named, { found: 'something else' }),
      sampleFinding(advised),
    ];
    const prints = () =>
      run(sampleReport({ clauses: [named, advised], findings })).results.map(
        (result) => result.partialFingerprints.primaryLocationLineHash,
      );
    expect(prints()).toEqual(prints());
    expect(new Set(prints()).size).toBe(3);
    expect(prints()[1]).toBe(prints()[0]?.replace(/:1$/, ':2'));
  });

  test('says what could not be checked, and what the limits of readers leave out', () => {
    const unchecked = [{ where: 'noarch/cjq:1.7-0', code: 'DENIED', message: 'the server refused' }];
    const findings = Array.from({ length: 25_001 }, (_, i) =>
      sampleFinding(named, { where: `noarch/p:${i}-0` }),
    );
    const { results, invocations } = run(sampleReport({ clauses: [named], findings, unchecked, omitted: 5 }));
    expect(results).toHaveLength(25_000);
    expect(invocations[0].executionSuccessful).toBe(false);
    expect(invocations[0].toolExecutionNotifications.slice(1)).toEqual([
      { level: 'warning', message: { text: '6 findings left out of this log' } },
      {
        level: 'error',
        message: { text: 'noarch/cjq:1.7-0 could not be checked: the server refused [DENIED]' },
      },
    ]);
  });

  test('what GitHub asks for holds, whatever names hold', () => {
    fc.assert(
      fc.property(hostileReport, (report) => {
        const { results, tool, automationDetails, invocations } = run(report);
        expect(JSON.stringify([results, automationDetails, invocations])).not.toMatch(/\\ud[89a-f]/i);
        expect(automationDetails.id).toMatch(/^conda-ferry\/.*\/$/);
        for (const { helpUri } of tool.driver.rules)
          expect(helpUri === undefined || URL.canParse(helpUri)).toBe(true);
        for (const { message, locations } of results) {
          const { uri } = locations[0].physicalLocation.artifactLocation;
          expect(uri).toMatch(/^(?:[\w\-.~!'()*/]|%[\dA-F]{2})+$/);
          for (const segment of uri.split('/')) expect(['', '.', '..']).not.toContain(segment);
          expect(message.text.replaceAll('{{', '').replaceAll('}}', '')).not.toMatch(/[{}]/);
          expect(message.text).not.toContain('](');
        }
      }),
    );
  });
});
