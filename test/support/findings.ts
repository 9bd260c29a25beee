import { CheckLog } from '#ferry/conformance/check-log.js';

/** What a check found, as `clause at place`, in the order it was found. */
export function findingsOf(check: (log: CheckLog) => void): string[] {
  const log = new CheckLog();
  check(log);
  return log.findings.map(({ clause, where }) => `${clause} at ${where}`);
}

/** Clauses of what a check found. */
export function clausesOf(check: (log: CheckLog) => void): string[] {
  return findingsOf(check).map((finding) => finding.replace(/ at .*/su, ''));
}
