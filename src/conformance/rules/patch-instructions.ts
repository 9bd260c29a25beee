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
      if ('run_exports' in patch) patchesRunExports = true;
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
