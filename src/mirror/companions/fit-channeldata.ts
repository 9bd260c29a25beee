/** Makes a channel's `channeldata.json` say no more than what the mirror lists. */
import type { Repodata } from '../../conda/repodata/repodata.js';
import type { PackageSummaries } from '../../conformance/rules/channeldata.js';
import { FerryError } from '../../errors.js';
import { checkJson } from './filter-json.js';

type JsonObject = Readonly<Record<string, unknown>>;

/** Adds what a subdir lists, record by record. @param isListed tells which records of the repodata count */
export async function summarizeRepodata(
  repodata: Repodata,
  summaries: PackageSummaries,
  isListed?: (filename: string) => boolean,
): Promise<void> {
  for await (const { name, version, timestampMs } of repodata.details({ wants: isListed }))
    summaries.add({ value: { name, version, timestamp: timestampMs } }, repodata.subdir);
}

/**
 * Fits `channeldata.json` to the packages that are listed: other packages and subdirs go; what is the newest version, and
 * since when, is said anew where that is not there.
 * @param subdirs that the mirror has
 * @returns the text to publish; `undefined` where the source's own bytes fit
 * @throws FerryError `REPODATA_INVALID` for what is malformed
 * @see CEP 38
 */
export async function fitChanneldata(
  bytes: Uint8Array,
  subdirs: readonly string[],
  packages: PackageSummaries,
): Promise<Uint8Array | undefined> {
  checkJson(bytes);
  const document: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
  if (!isObject(document) || !isObject(document['packages'])) {
    throw new FerryError('REPODATA_INVALID', '`packages` of the channel data is no object');
  }
  const known = new Set(subdirs);
  const fitted: [string, unknown][] = [];
  for (const [name, item] of Object.entries(document['packages'])) {
    const summary = packages.get(name);
    if (summary !== undefined) fitted.push([name, isObject(item) ? await fitPackage(item, summary) : item]);
  }
  const all = document['subdirs'];
  const result = {
    ...document,
    packages: Object.fromEntries(fitted),
    ...(Array.isArray(all) ? { subdirs: itemsIn(all, known) } : {}),
  };
  const text = JSON.stringify(result);
  // Compared as values: white space of the source is no difference.
  return text === JSON.stringify(document) ? undefined : Buffer.from(`${text}\n`, 'utf8');
}

async function fitPackage(
  item: JsonObject,
  { subdirs, versions, newest }: NonNullable<ReturnType<PackageSummaries['get']>>,
): Promise<JsonObject> {
  const { version, timestamp, subdirs: all, run_exports: runExports } = item;
  const isListed = typeof version === 'string' && versions.has(version);
  const isLater = typeof timestamp === 'number' && newest !== undefined && timestamp > newest;
  return {
    ...item,
    ...(Array.isArray(all) ? { subdirs: itemsIn(all, subdirs) } : {}),
    ...(isListed ? {} : { version: await newestVersion(versions) }),
    ...(isLater ? { timestamp: newest } : {}),
    ...(isObject(runExports)
      ? { run_exports: Object.fromEntries(Object.entries(runExports).filter(([of]) => versions.has(of))) }
      : {}),
  };
}

/** The newest version, as CEP 33 orders them; what is no version is older than all that are. */
async function newestVersion(versions: ReadonlySet<string>): Promise<string | undefined> {
  // Loaded where it is needed: half a megabyte of WebAssembly, for channels that are filtered by version.
  const { Version } = await import('@conda-org/rattler');
  let newest: { readonly text: string; readonly version: InstanceType<typeof Version> } | undefined;
  for (const text of [...versions].sort()) {
    try {
      const version = new Version(text);
      if (newest === undefined || version.compare(newest.version) > 0) newest = { text, version };
    } catch {
      // `new Version` throws for what CEP 33 does not allow, and nothing else can be made of that.
    }
  }
  return newest?.text ?? [...versions][0];
}

function itemsIn(items: readonly unknown[], known: ReadonlySet<string>): unknown[] {
  return items.filter((item) => typeof item === 'string' && known.has(item));
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
