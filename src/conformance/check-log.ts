import { clauseOf, type Clause, type ClauseId, type Severity } from './clauses.js';

/** What a rule says of a breach. */
export interface Breach {
  /** Place in the target: `noarch/czlib:1.3.1-h4ab18f5_1`, or with a JSON pointer `noarch/repodata.json#/info/subdir`. */
  readonly where: string;
  readonly found: string;
  readonly expected: string;
  /** What to do about it, where that is known. */
  readonly hint?: string | undefined;
}

/** A breach of a clause. */
export interface Finding extends Breach {
  readonly clause: ClauseId;
  readonly severity: Severity;
}

/** What came of one clause. */
export interface ClauseResult {
  readonly clause: Clause;
  /** How often it was looked at. */
  readonly checks: number;
  readonly findings: number;
}

/** Findings that are kept; beyond, they are only counted, so that memory stays bounded. */
const MAX_FINDINGS = 100_000;

/** Longer text of a finding is cut: keys and values of a document have no limit. */
const MAX_TEXT = 4_000;

/** Takes down what the rules look at and what they find. */
export class CheckLog {
  readonly #findings: Finding[] = [];
  readonly #results = new Map<ClauseId, { clause: Clause; checks: number; findings: number }>();

  /**
   * Notes that a clause was looked at once, and the breach where it does not hold.
   * @returns `holds`, so that what depends on it can be left out
   */
  expect(id: ClauseId, holds: boolean, breach: () => Breach): boolean {
    const result = this.#resultOf(id);
    result.checks += 1;
    if (holds) return true;
    result.findings += 1;
    if (this.#findings.length < MAX_FINDINGS) {
      this.#findings.push({ clause: id, severity: result.clause.severity, ...bounded(breach()) });
    }
    return false;
  }

  /** Notes a breach. */
  report(id: ClauseId, breach: Breach): void {
    this.expect(id, false, () => breach);
  }

  /** All findings, in the order they were made. */
  get findings(): readonly Finding[] {
    return this.#findings;
  }

  /** What came of each clause that was looked at, in no order that means anything. */
  get results(): readonly ClauseResult[] {
    return [...this.#results.values()];
  }

  #resultOf(id: ClauseId): { clause: Clause; checks: number; findings: number } {
    const known = this.#results.get(id);
    if (known !== undefined) return known;
    const result = { clause: clauseOf(id), checks: 0, findings: 0 };
    this.#results.set(id, result);
    return result;
  }
}

function bounded({ where, found, expected, hint }: Breach): Breach {
  return {
    where: cut(where),
    found: cut(found),
    expected: cut(expected),
    ...(hint === undefined ? {} : { hint: cut(hint) }),
  };
}

function cut(text: string): string {
  if (text.length <= MAX_TEXT) return text;
  // Through bytes: a mere slice would keep the whole text in memory.
  return `${Buffer.from(text.slice(0, MAX_TEXT - 1)).toString()}…`;
}
