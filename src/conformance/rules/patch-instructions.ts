import { isDeepStrictEqual } from 'node:util';
import type { CheckLog } from '../check-log.js';
import { checkDocument } from '../documents.js';
import { asJsonObject, pointTo, quote } from './json-value.js';

/** Fields that the server says, which patches leave alone. */
const KEPT_FIELDS = [
  ['indexed_timestamp', 'cep47/not-patched'],
  ['attestations_sha256', 'cep142/patch-keeps'],
] as const;

/** What {@link checkPatchInstructions} looks at. */
export interface PatchInstructionsSubject {
  /** The parsed `patch_instructions.json`. */
  readonly value: unknown;
  /** Its place, such as `noarch/patch_instructions.json`. */
  readonly where: string;
  /** Whether the subdir has a `run_exports.json`; without it nothing is said of that. */
  readonly hasRunExports?: boolean | undefined;
  /** That `run_exports.json`, parsed, for whether the patches are applied to it. */
  readonly runExports?: unknown;
}

/** Checks a subdir's patch instructions. */
export function checkPatchInstructions(subject: PatchInstructionsSubject, log: CheckLog): void {
  const { value, where, hasRunExports } = subject;
  checkDocument('patch-instructions', value, where, log);
  const document = asJsonObject(value);
  let patchesRunExports = false;
  for (const section of ['packages', 'packages.conda'] as const) {
    for (const [filename, item] of Object.entries(asJsonObject(document[section]))) {
      const patch = asJsonObject(item);
      if ('run_exports' in patch) {
        patchesRunExports = true;
        checkApplied(subject, [section, filename], patch['run_exports'], log);
      }
      for (const [field, clause] of KEPT_FIELDS) {
        log.expect(clause, !(field in patch), () => ({
          where: pointTo(where, section, filename, field),
          found: 'a patch of it',
          expected: 'none: it is what the server says, not the package',
        }));
      }
    }
  }
  if (!patchesRunExports) return;
  const version = document['patch_instructions_version'];
  log.expect('cep21/patch-version', version === 2, () => ({
    where: pointTo(where, 'patch_instructions_version'),
    found: `${quote(version)}, with patches of run exports`,
    expected: '2',
  }));
  if (hasRunExports === undefined) return;
  log.expect('cep21/patch-needs-run-exports', hasRunExports, () => ({
    where,
    found: 'patches of run exports, without a `run_exports.json`',
    expected: 'a `run_exports.json` with the patches applied',
  }));
}

/** Whether `run_exports.json` says what a patch says; that it lists the file is a rule of its own. */
function checkApplied(
  { where, runExports }: PatchInstructionsSubject,
  [section, filename]: readonly [string, string],
  patch: unknown,
  log: CheckLog,
): void {
  const item = asJsonObject(asJsonObject(runExports)[section])[filename];
  if (item === undefined) return;
  const said = asJsonObject(item)['run_exports'];
  log.expect('cep21/patch-applied', isDeepStrictEqual(said, patch), () => ({
    where: pointTo(where, section, filename, 'run_exports'),
    found: `a patch that \`run_exports.json\` does not have: there it says ${quote(said)}`,
    expected: quote(patch),
  }));
}
