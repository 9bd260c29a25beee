import { RUN_MAIN } from '../rattler.js';
import { tempFolder } from '../temp.js';
import type { ClientPython } from './python.js';

/**
 * Releases of rattler for Python: today's; one before it could do without a token, and without shards, of every registry; and one
 * before it asked for shards at all.
 */
export const RATTLER_RELEASES = ['py-rattler==0.28.0', 'py-rattler==0.24.0', 'py-rattler==0.9.1'] as const;

/** What rattler is to do: to solve, and to install what came out. */
export interface RattlerJob {
  /** URLs of channels, the first one before the others. */
  readonly channels: readonly string[];
  readonly specs: readonly string[];
  /** @defaultValue linux-64 and noarch */
  readonly platforms?: readonly string[];
  readonly sharded?: boolean;
  /** Where it keeps repodata. @defaultValue a fresh folder */
  readonly cache?: string;
}

/** A package that rattler chose. */
export interface ChosenPackage {
  readonly filename: string;
  readonly subdir: string;
  readonly sha256: string;
  readonly url: string;
}

/** What rattler did. */
export interface RattlerOutcome {
  readonly chosen: readonly ChosenPackage[];
  /** Installed files by path, `conda-meta/` aside: sha256, or the target of a link behind `-> `. */
  readonly files: Readonly<Record<string, string>>;
  /** Names in `conda-meta/` without `.json`. */
  readonly meta: readonly string[];
}

/** Lists what is installed in a prefix; rattler marks a prefix as something that backups may leave out. */
export const LIST_PREFIX = `
import hashlib, json, os, sys

def list_prefix(prefix):
    files, meta = {}, []
    for folder, folders, names in os.walk(prefix):
        for name in names + [name for name in folders if os.path.islink(os.path.join(folder, name))]:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, prefix)
            if relative.startswith("conda-meta" + os.sep):
                if name.endswith(".json"):
                    meta.append(name[:-5])
            elif name == "CACHEDIR.TAG":
                continue
            elif os.path.islink(path):
                files[relative] = "-> " + os.readlink(path)
            else:
                with open(path, "rb") as file:
                    files[relative] = hashlib.sha256(file.read()).hexdigest()
    return files, sorted(meta)
`;

/** Solves and installs; reads its job, a {@link RattlerJob}, from the first argument. */
export const INSTALLER = `${LIST_PREFIX}
import asyncio, tempfile
from rattler import Channel, Gateway, MatchSpec, Platform, SourceConfig, install, solve

async def main():
    job = json.loads(sys.argv[1])
    more = {}
    if any(url.startswith("oci://") for url in job["channels"]):
        from rattler.networking import Client, OciMiddleware
        more["client"] = Client(middlewares=[OciMiddleware()])
    config = SourceConfig(sharded_enabled=job.get("sharded", True))
    gateway = Gateway(cache_dir=job.get("cache") or tempfile.mkdtemp(), default_config=config, **more)
    chosen = await solve(
        [Channel(url) for url in job["channels"]],
        [MatchSpec(spec) for spec in job["specs"]],
        gateway=gateway,
        platforms=[Platform(name) for name in job.get("platforms", ["linux-64", "noarch"])],
    )
    prefix = tempfile.mkdtemp()
    await install(chosen, target_prefix=prefix, cache_dir=tempfile.mkdtemp(), platform=Platform("linux-64"), show_progress=False, **more)
    files, meta = list_prefix(prefix)
    packages = [
        {"filename": record.file_name, "subdir": record.subdir, "sha256": record.sha256.hex(), "url": record.url}
        for record in chosen
    ]
    packages.sort(key=lambda package: package["filename"])
    print(json.dumps({"chosen": packages, "files": files, "meta": meta}))
${RUN_MAIN}`;

/** Has rattler solve and install. */
export async function rattlerInstalls(python: ClientPython, job: RattlerJob): Promise<RattlerOutcome> {
  const TMPDIR = await tempFolder();
  const output = await python.script(INSTALLER, [JSON.stringify(job)], { env: { TMPDIR } });
  return JSON.parse(output) as RattlerOutcome;
}
