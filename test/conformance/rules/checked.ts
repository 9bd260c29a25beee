import { join } from 'node:path';
import { checkArchive, type CheckedArchive } from '#ferry/conformance/check-archive.js';
import { CheckLog, type Finding } from '#ferry/conformance/check-log.js';
import { condaPackage, tarBz2Package } from '../../../fixtures/build/archive.mjs';

type Built = ReturnType<typeof condaPackage>;
/** What the fixtures' builders take. */
export type Spec = Parameters<typeof condaPackage>[0];
type Member = Parameters<NonNullable<Spec['arrange']>>[0][number];

/** The package that tests bend. */
export const spec = { name: 'ferry', version: '1.0', build: '0', subdir: 'noarch' };

interface Checked extends CheckedArchive {
  readonly log: CheckLog;
  readonly findings: readonly Finding[];
  /** Each broken clause once. */
  readonly clauses: readonly string[];
}

/** Checks one archive with a log of its own. */
export async function check(target: Parameters<typeof checkArchive>[0]): Promise<Checked> {
  const log = new CheckLog();
  const checked = await checkArchive(target, log);
  const clauses = [...new Set(log.findings.map(({ clause }) => clause))].sort();
  return { ...checked, log, findings: log.findings, clauses };
}

/** Checks `<subdir>/<filename>` in a folder. */
export async function checkFile(folder: string, archive: string): Promise<Checked> {
  const [subdir = '', filename = ''] = archive.split('/').slice(-2);
  return await check({ archive: { path: join(folder, archive) }, filename, subdir, where: archive });
}

/** Checks an archive as it was built. */
export async function checkBuilt({ bytes, filename }: Built, subdir = 'noarch'): Promise<Checked> {
  return await check({ archive: { bytes }, filename, subdir, where: `${subdir}/${filename}` });
}

/** Both formats, with further or other members. */
export async function clausesOfBoth(changes: Partial<Spec>): Promise<readonly (readonly string[])[]> {
  const conda = await checkBuilt(condaPackage({ ...spec, ...changes }));
  const bz2 = await checkBuilt(tarBz2Package({ ...spec, ...changes }));
  return [conda.clauses, bz2.clauses];
}

/** Puts another content in the place of a member's. */
export function withContent(path: string, content: (before: unknown) => unknown): Pick<Spec, 'arrange'> {
  const change = (member: Member): Member => {
    if (member.path !== path) return member;
    const before: unknown = JSON.parse(Buffer.from(member.content ?? '').toString());
    return { ...member, content: JSON.stringify(content(before)) };
  };
  return { arrange: (members) => members.map(change) };
}
