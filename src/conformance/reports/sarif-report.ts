import { createHash } from 'node:crypto';
import { count } from '../../io/figures.js';
import { visibleText } from '../../io/visible-text.js';
import type { ClauseResult, Finding } from '../check-log.js';
import type { Clause, Severity } from '../clauses.js';
import type { CheckReport, Unchecked } from '../report.js';
import { SEVERITIES, severityName, verdictOf } from './summary.js';

/** How {@link sarifDocument} writes. */
export interface SarifReportOptions {
  /** Version of conda-ferry. */
  readonly toolVersion: string;
  /**
   * Path in front of every place, relative to the root of the source repository: `dist/channel`.
   * @defaultValue the target without its scheme: `ghcr.io/org/channel`
   */
  readonly base?: string | undefined;
}

type SarifLevel = 'error' | 'warning' | 'note';

interface SarifText {
  readonly text: string;
}

interface SarifRule {
  readonly id: string;
  readonly shortDescription: SarifText;
  readonly fullDescription: SarifText;
  readonly help: SarifText;
  readonly helpUri?: string;
  readonly defaultConfiguration: { readonly level: SarifLevel };
  readonly properties: {
    readonly tags: readonly string[];
    readonly precision: 'very-high';
    readonly 'problem.severity': 'error' | 'warning' | 'recommendation';
  };
}

interface SarifResult {
  readonly ruleId: string;
  readonly ruleIndex: number;
  readonly level: SarifLevel;
  readonly message: SarifText;
  readonly locations: readonly [
    {
      readonly physicalLocation: {
        readonly artifactLocation: { readonly uri: string };
        readonly region: { readonly startLine: 1 };
      };
      readonly logicalLocations: readonly [{ readonly fullyQualifiedName: string }];
    },
  ];
  readonly partialFingerprints: { readonly primaryLocationLineHash: string };
}

interface SarifNotification {
  readonly level: SarifLevel;
  readonly message: SarifText;
}

/** A log of SARIF 2.1.0 with one run. */
export interface SarifDocument {
  readonly $schema: string;
  readonly version: '2.1.0';
  readonly runs: readonly [
    {
      readonly tool: {
        readonly driver: {
          readonly name: 'conda-ferry';
          readonly version: string;
          readonly rules: readonly SarifRule[];
        };
      };
      readonly automationDetails: { readonly id: string };
      readonly invocations: readonly [
        {
          readonly executionSuccessful: boolean;
          readonly toolExecutionNotifications: readonly SarifNotification[];
        },
      ];
      readonly results: readonly SarifResult[];
      readonly columnKind: 'utf16CodeUnits';
    },
  ];
}

/** GitHub refuses a run with more. */
const MAX_RESULTS = 25_000;
/** A registry that is down would fill the log with one notification per archive. */
const MAX_NOTIFICATIONS = 1000;
const MAX_LENGTH = 1000;
const SCHEMA =
  'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json' as const;

/**
 * Makes the report as a SARIF 2.1.0 log that GitHub code scanning takes: a rule per clause that was looked at, a result
 * per finding (the most severe 25,000), a notification per place that could not be looked at.
 * @see OASIS SARIF 2.1.0 errata 01; "SARIF support for code scanning" of GitHub
 */
export function sarifDocument(
  report: CheckReport,
  { toolVersion, base = baseOf(report.target) }: SarifReportOptions,
): SarifDocument {
  const indexes = new Map(report.clauses.map(({ clause }, index) => [clause.id as string, index]));
  const seen = new Map<string, number>();
  const findings = report.findings.slice(0, MAX_RESULTS);
  return {
    $schema: SCHEMA,
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: { name: 'conda-ferry', version: toolVersion, rules: report.clauses.map(formatRule) },
        },
        // The slash at the end makes all of it a category: logs of several targets stand side by side.
        automationDetails: { id: `conda-ferry/${shown(baseOf(report.target))}/` },
        invocations: [
          {
            executionSuccessful: report.unchecked.length === 0,
            toolExecutionNotifications: formatNotifications(report, findings.length),
          },
        ],
        results: findings.map((finding) => ({
          ruleId: finding.clause,
          ruleIndex: indexes.get(finding.clause) ?? -1,
          level: severityName(finding.severity),
          message: { text: formatMessage(finding) },
          locations: [locationOf(finding.where, base)],
          partialFingerprints: { primaryLocationLineHash: fingerprintOf(finding, seen) },
        })),
        columnKind: 'utf16CodeUnits',
      },
    ],
  };
}

function formatRule({ clause }: ClauseResult): SarifRule {
  const { id, area, level, severity, subject, text, source, document } = clause;
  return {
    id,
    shortDescription: { text: literal(subject) },
    fullDescription: { text: literal(text) },
    help: { text: literal(`${level}: ${text}\n\n${document.title} (${document.revision}), ${source}`) },
    ...helpUriOf(clause),
    defaultConfiguration: { level: severityName(severity) },
    properties: {
      tags: ['conda', area],
      precision: 'very-high',
      'problem.severity': problemSeverity(severity),
    },
  };
}

function helpUriOf({ document: { url } }: Clause): { helpUri?: string } {
  return URL.canParse(url) ? { helpUri: new URL(url).href } : {};
}

function problemSeverity(severity: Severity): 'error' | 'warning' | 'recommendation' {
  return severity === 'info' ? 'recommendation' : severity;
}

function formatMessage({ where, found, expected, hint }: Finding): string {
  const message = `${shown(where)}: found ${shown(found)}, expected ${shown(expected)}`;
  return literal(hint === undefined ? message : `${message}. ${shown(hint)}`);
}

/** Braces mark placeholders, and `[text](target)` a link that a hostile name could make. */
function literal(text: string): string {
  return text.replace(/[{}]/g, '$&$&').replaceAll('](', '] (');
}

function locationOf(where: string, base: string): SarifResult['locations'][0] {
  return {
    physicalLocation: {
      artifactLocation: { uri: relativeUri(where, base) },
      // GitHub asks for a line; archives have none.
      region: { startLine: 1 },
    },
    logicalLocations: [{ fullyQualifiedName: shown(where) }],
  };
}

/**
 * The place without its JSON pointer as a relative URI, `ghcr.io/org/channel/noarch/czlib%3A1.3.1-0`: GitHub refuses
 * the whole log for one URI with a scheme, and for an empty one.
 */
function relativeUri(where: string, base: string): string {
  const [file = ''] = where.split(/#(?=\/|$)/, 1);
  const inside = segmentsOf(file);
  const outside = segmentsOf(base);
  // Where an archive or a subdir is the target, its places begin with what the target ends with.
  const start = outside.findIndex((_, i) => outside.slice(i).every((segment, j) => segment === inside[j]));
  const path = [...(start < 0 ? outside : outside.slice(0, start)), ...inside];
  return path.length === 0 ? 'channel' : path.join('/');
}

function segmentsOf(path: string): readonly string[] {
  return path
    .split('/')
    .filter((segment) => !['', '.', '..'].includes(segment))
    .map((segment) => encodeURIComponent(shown(segment)));
}

function baseOf(target: string): string {
  return target.replace(/^[a-z][a-z0-9+.-]*:(?:\/\/)?/i, '').replace(/^(?:\.?\/)+/, '');
}

/** The same finding has the same one in every run; GitHub takes alerts with the same one for the same alert. */
function fingerprintOf({ clause, where }: Finding, seen: Map<string, number>): string {
  const hash = createHash('sha256').update(`${clause}\0${where}`).digest('hex').slice(0, 32);
  const occurrence = (seen.get(hash) ?? 0) + 1;
  seen.set(hash, occurrence);
  return `${hash}:${String(occurrence)}`;
}

function formatNotifications(report: CheckReport, listed: number): readonly SarifNotification[] {
  const { headline, details } = verdictOf(report);
  const notifications = [notification('note', `${headline}: ${details}`)];
  const left = SEVERITIES.reduce((sum, severity) => sum + report.counts[severity], -listed);
  if (left > 0) notifications.push(notification('warning', `${count(left, 'finding')} left out of this log`));
  const unchecked = report.unchecked.slice(0, MAX_NOTIFICATIONS);
  const rest = report.unchecked.length - unchecked.length;
  if (rest > 0) notifications.push(notification('error', `${count(rest, 'place')} more not checked`));
  return [...notifications, ...unchecked.map(uncheckedNotification)];
}

function uncheckedNotification({ where, code, message }: Unchecked): SarifNotification {
  return notification('error', `${shown(where)} could not be checked: ${shown(message)} [${code}]`);
}

function notification(level: SarifLevel, text: string): SarifNotification {
  return { level, message: { text: literal(text) } };
}

function shown(text: string): string {
  return visibleText(text, MAX_LENGTH);
}
