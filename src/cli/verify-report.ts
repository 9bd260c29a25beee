import { FINDING_CODES, type Finding, type FindingCode } from '../mirror/verify/findings.js';
import { faultsOf, type SubdirAudit, type VerifyReport } from '../mirror/verify/report.js';
import { count, formatTable, printLine, type Output, type OutputFlags } from './output.js';

/** Findings of one code that are named one by one. */
const SHOWN = 10;
const WIDTH = 80;

/** Prints what an audit found: a table, each kind of finding with where it is, and what to do next. */
export function printVerifyReport(output: Output, report: VerifyReport, flags: OutputFlags): void {
  const header = ['subdir', 'listed', 'checked', 'faults', 'repaired', 'dropped'];
  const rows = report.subdirs.map((audit) => [audit.subdir, ...cellsOf(audit)]);
  for (const line of formatTable([header, ...rows], [1, 2, 3, 4, 5])) printLine(output, line);
  const all = [...report.findings, ...report.subdirs.flatMap(({ findings }) => findings)];
  const faults = faultsOf(report);
  printGroups(output, '', faults, flags);
  printGroups(
    output,
    'repaired: ',
    report.subdirs.flatMap(({ repaired }) => repaired),
    flags,
  );
  printUnrepaired(output, report.subdirs, flags);
  printNames(output, 'dropped from the repodata', report.subdirs, flags);
  printNotes(
    output,
    all.filter(({ severity }) => severity === 'note'),
    flags,
  );
  printLine(output);
  for (const line of endOf(report, faults)) printLine(output, line);
}

function cellsOf({ listed, checked, findings, repaired, dropped }: SubdirAudit): string[] {
  const faults = findings.filter(({ severity }) => severity === 'fault');
  return [listed, checked, faults.length, repaired.length, dropped.length].map(String);
}

function printGroups(
  output: Output,
  word: string,
  findings: readonly Finding[],
  { verbose }: OutputFlags,
): void {
  for (const [code, group] of byCode(findings)) {
    printLine(output);
    for (const line of wrap(`${word}${code} (${String(group.length)}): ${FINDING_CODES[code]}`))
      printLine(output, line);
    const shown = verbose === true ? group : group.slice(0, SHOWN);
    for (const { subdir, filename, message } of shown) {
      printLine(output, `  ${subdir === '' ? filename : `${subdir}/${filename}`}`);
      if (word === '') for (const line of wrap(message, '    ')) printLine(output, line);
    }
    printMore(output, group.length - shown.length);
  }
}

function printUnrepaired(output: Output, subdirs: readonly SubdirAudit[], { verbose }: OutputFlags): void {
  const all = subdirs.flatMap(({ subdir, unrepaired }) => unrepaired.map((entry) => ({ subdir, ...entry })));
  if (all.length === 0) return;
  printLine(output);
  printLine(output, `could not be repaired (${String(all.length)}):`);
  const shown = verbose === true ? all : all.slice(0, SHOWN);
  for (const { subdir, filename, code, message } of shown) {
    printLine(output, `  ${subdir}/${filename}`);
    for (const line of wrap(`${message} [${code}]`, '    ')) printLine(output, line);
  }
  printMore(output, all.length - shown.length);
}

function printNames(
  output: Output,
  what: string,
  subdirs: readonly SubdirAudit[],
  { verbose }: OutputFlags,
): void {
  const all = subdirs.flatMap(({ subdir, dropped }) => dropped.map((filename) => `${subdir}/${filename}`));
  if (all.length === 0) return;
  printLine(output);
  printLine(output, `${what} (${String(all.length)}):`);
  const shown = verbose === true ? all : all.slice(0, SHOWN);
  for (const name of shown) printLine(output, `  ${name}`);
  printMore(output, all.length - shown.length);
}

/** Notes are counted, and named with `--verbose` alone: a channel may have thousands of archives of its own. */
function printNotes(output: Output, notes: readonly Finding[], flags: OutputFlags): void {
  if (flags.verbose === true) {
    printGroups(output, '', notes, flags);
    return;
  }
  if (notes.length > 0) printLine(output);
  for (const [code, group] of byCode(notes)) {
    for (const line of wrap(`note: ${code} (${String(group.length)}): ${FINDING_CODES[code]}`))
      printLine(output, line);
  }
}

function printMore(output: Output, more: number): void {
  if (more > 0) printLine(output, `  and ${String(more)} more; --verbose and --json name them all`);
}

function* endOf(report: VerifyReport, faults: readonly Finding[]): Generator<string> {
  const sum = (field: 'checked' | 'artifacts'): number =>
    report.subdirs.reduce((total, audit) => total + audit[field], 0);
  const looked = `${count(sum('checked'), 'archive')} in ${count(sum('artifacts'), report.schema === undefined ? 'file' : 'artifact')}`;
  const how = {
    manifests: report.schema === undefined ? 'by presence and size' : 'by their manifests',
    full: 'every blob asked for',
    deep: 'every byte read',
  }[report.depth];
  yield `verified ${report.channel}:`;
  yield `${looked}, ${how}${report.against === undefined ? '' : `, against ${report.against}`}`;
  if (report.sample !== undefined) {
    yield `a sample: --sample ${String(report.sample.size)} --seed ${report.sample.seed} takes it again`;
  }
  if (faults.length === 0) {
    yield 'all is well';
    return;
  }
  const repairable = faults.filter((fault) => fault.repairable).length;
  const isMended = report.subdirs.some(({ repaired, unrepaired }) => repaired.length + unrepaired.length > 0);
  yield isMended
    ? `left: ${count(faults.length, 'fault')}`
    : `${count(faults.length, 'fault')}, ${repairable === 0 ? 'none' : String(repairable)} of them repairable`;
  if (repairable > 0 && report.schema !== undefined && !isMended) {
    yield 'to repair: the same command with --repair';
  }
  const isLost = report.subdirs.some(({ unrepaired }) => unrepaired.length > 0);
  if (isLost) yield 'to no longer list what is not to be had: --repair --drop-missing';
  const isBehind = faults.some(({ code }) => code === 'NOT_MIRRORED' || code === 'REPLACED_AT_SOURCE');
  if (isBehind) yield 'to bring what the source has and the channel lacks: `conda-ferry mirror`';
}

function byCode(findings: readonly Finding[]): ReadonlyMap<FindingCode, readonly Finding[]> {
  const groups = new Map<FindingCode, Finding[]>();
  for (const found of findings) groups.set(found.code, [...(groups.get(found.code) ?? []), found]);
  return groups;
}

/** Breaks between words; a word longer than a line stays whole, so that it can be copied. */
function wrap(text: string, indent = ''): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (line !== '' && indent.length + longer.length > WIDTH) {
      lines.push(indent + line);
      line = word;
    } else line = longer;
  }
  return [...lines, indent + line];
}
