/** Patch instructions: what an indexer changes in the records that archives give. */
import { z } from 'zod';
import type { JsonObject } from '../conda/record-details.js';
import { isJsonObject } from '../conformance/rules/json-value.js';
import { FerryError } from '../errors.js';
import { isPortableJson } from './portable-json.js';
import type { RunExports } from './run-exports.js';
import { condaTwinOf, sectionOf, type RecordSection, type SubdirRecords } from './subdir-records.js';

/** What nothing provides: what depends on it cannot be installed. */
const REVOKED_DEPENDENCY = 'package_has_been_revoked';
/** What the server says, which a patch does not change. @see cep47/not-patched @see cep142/patch-keeps */
const KEPT_KEYS: ReadonlySet<string> = new Set(['attestations_sha256', 'indexed_timestamp']);
/** Not a field of records in repodata; see {@link patchRunExports}. */
const RUN_EXPORTS_KEY = 'run_exports';

const patches = z.record(z.string(), z.record(z.string(), z.unknown()));
const schema = z.looseObject({
  patch_instructions_version: z.int().min(0).max(2).optional(),
  packages: patches.optional(),
  'packages.conda': patches.optional(),
  remove: z.array(z.string()).optional(),
  revoke: z.array(z.string()).optional(),
});

/** Patch instructions of a subdir, as they stand. @see CEP 21 */
export type PatchInstructions = Readonly<z.infer<typeof schema>>;

/** Instructions that change nothing. */
export const NO_PATCHES: PatchInstructions = {};

/**
 * Reads patch instructions: `{ patch_instructions_version: 1, packages: { 'a-1-0.tar.bz2': { depends: [] } }, remove: [] }`.
 * A version need not be said.
 * @param what names them in errors
 * @throws FerryError `REPODATA_INVALID`; `UNSUPPORTED` for a version above 2
 * @see CEP 21
 */
export function parsePatchInstructions(value: unknown, what: string): PatchInstructions {
  const version = isJsonObject(value) ? value['patch_instructions_version'] : undefined;
  if (typeof version === 'number' && version > 2)
    throw new FerryError('UNSUPPORTED', `${what} has patch instructions of version ${String(version)}`);
  const result = schema.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    const where = issue === undefined ? '' : `: \`${issue.path.join('.')}\` ${issue.message}`;
    throw new FerryError('REPODATA_INVALID', `${what} has no patch instructions${where}`);
  }
  if (isPortableJson(value)) return result.data;
  throw new FerryError('REPODATA_INVALID', `${what} is nested too deeply, or has half characters`);
}

/**
 * Applies patch instructions to the records that archives give. Values replace those of the same key, objects key by
 * key; `null` takes a key away. What is said of a `.tar.bz2` holds for the `.conda` of the same name, unless that is said
 * something else. `revoke` makes a package that cannot be installed, `remove` takes it out. File names that are not there
 * are passed over.
 * @returns new records; those that no instruction is about are the same objects
 * @see CEP 21, CEP 36
 */
export function applyPatches(records: SubdirRecords, instructions: PatchInstructions): SubdirRecords {
  const patched = {
    packages: new Map(records.packages),
    'packages.conda': new Map(records['packages.conda']),
  };
  for (const { filename, section, patch } of eachPatch(instructions)) {
    const record = patched[section].get(filename);
    if (record !== undefined) patched[section].set(filename, patchRecord(record, patch));
  }
  for (const filename of withTwins(instructions.revoke)) {
    const section = patched[sectionOf(filename)];
    const record = section.get(filename);
    if (record !== undefined) section.set(filename, revoke(record));
  }
  const removed = new Set(records.removed);
  for (const filename of withTwins(instructions.remove))
    if (patched[sectionOf(filename)].delete(filename)) removed.add(filename);
  return { ...patched, removed: [...removed].sort() };
}

/**
 * The run exports of an archive as instructions change them: what they say replaces all of what the archive says.
 * @see CEP 21, "Patching"
 */
export function patchRunExports(
  filename: string,
  runExports: RunExports,
  instructions: PatchInstructions,
): RunExports {
  let patched = runExports;
  for (const said of patchesOf(filename, instructions)) {
    const value = said[RUN_EXPORTS_KEY];
    if (isJsonObject(value)) patched = value;
  }
  return patched;
}

/** File names that `remove` takes out of a subdir, twins included. */
export function removedBy(instructions: PatchInstructions): ReadonlySet<string> {
  return new Set(withTwins(instructions.remove));
}

/** Where a patch applies; of two for one archive the later one wins. */
interface PlacedPatch {
  readonly filename: string;
  readonly section: RecordSection;
  readonly patch: JsonObject;
}

function* eachPatch(instructions: PatchInstructions): Generator<PlacedPatch> {
  const [old, conda] = [instructions.packages ?? {}, instructions['packages.conda'] ?? {}];
  for (const [filename, patch] of Object.entries(old)) yield { filename, section: 'packages', patch };
  for (const [filename, patch] of Object.entries(old))
    yield { filename: condaTwinOf(filename), section: 'packages.conda', patch };
  for (const [filename, patch] of Object.entries(conda)) yield { filename, section: 'packages.conda', patch };
}

function patchesOf(filename: string, instructions: PatchInstructions): JsonObject[] {
  const section = sectionOf(filename);
  const said: (JsonObject | undefined)[] = [];
  const old = instructions.packages ?? {};
  if (section === 'packages.conda') said.push(own(old, filename.replace(/\.conda$/, '.tar.bz2')));
  said.push(own(instructions[section] ?? {}, filename));
  return said.filter((patch) => patch !== undefined);
}

function own<T>(values: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(values, key) ? values[key] : undefined;
}

function* withTwins(filenames: readonly string[] = []): Generator<string> {
  for (const filename of filenames) {
    yield filename;
    if (filename.endsWith('.tar.bz2')) yield condaTwinOf(filename);
  }
}

function patchRecord(record: JsonObject, patch: JsonObject): JsonObject {
  const changes = Object.entries(patch).filter(([key]) => !KEPT_KEYS.has(key) && key !== RUN_EXPORTS_KEY);
  return update(record, Object.fromEntries(changes));
}

function update(base: JsonObject, changes: JsonObject): JsonObject {
  const updated = new Map(Object.entries(base));
  for (const [key, value] of Object.entries(changes)) {
    const old = updated.get(key);
    if (value === null) updated.delete(key);
    else updated.set(key, isJsonObject(value) && isJsonObject(old) ? update(old, value) : value);
  }
  return Object.fromEntries(updated);
}

function revoke(record: JsonObject): JsonObject {
  const { depends } = record;
  const others: readonly unknown[] = Array.isArray(depends) ? depends : [];
  const isThere = others.includes(REVOKED_DEPENDENCY);
  return { ...record, revoked: true, depends: isThere ? others : [...others, REVOKED_DEPENDENCY] };
}
