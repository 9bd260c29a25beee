/**
 * Source and destination of a run as the coordinator tells them to workers, which have other folders and credentials of
 * their own: all paths are absolute, and nothing in it is secret.
 */
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { FerryError } from '../errors.js';
import type { RunEnds } from '../queue/run-record.js';
import { formatStore, parseLocation, type Location } from './locations.js';
import { parseGithubApi, type LocationFlags } from './options.js';

const endsSchema = z.strictObject({
  source: z.string(),
  destination: z.string(),
  /** An array of locations, as JSON. */
  fallbacks: z.string().optional(),
  schema: z.string().optional(),
  label: z.string().optional(),
  sourceSchema: z.string().optional(),
  sourceLabel: z.string().optional(),
  plainHttp: z.boolean().optional(),
  profile: z.string().optional(),
  githubApi: z.string().optional(),
});

/** The flags of a run that hold for its workers too. */
export type EndsFlags = Pick<
  LocationFlags,
  'schema' | 'label' | 'sourceSchema' | 'sourceLabel' | 'plainHttp' | 'profile' | 'githubApi'
>;

/** The ends of a run, read. */
export interface ParsedEnds {
  readonly source: Location;
  readonly destination: Location;
  /** The source elsewhere, in order. */
  readonly fallbacks: readonly Location[];
  readonly flags: EndsFlags;
}

/**
 * Writes down the ends of a run. Shape: `{ source: 'https://conda.example/ch', destination: 'oci://ghcr.io/me/ch', schema:
 * 'v0' }`
 */
export function makeEnds({ source, destination, fallbacks, flags }: ParsedEnds): RunEnds {
  const { schema, label, sourceSchema, sourceLabel, plainHttp, profile, githubApi } = flags;
  const values = {
    source: formatLocation(source),
    destination: formatLocation(destination),
    fallbacks: fallbacks.length === 0 ? undefined : JSON.stringify(fallbacks.map(formatLocation)),
    ...{ schema, label, sourceSchema, sourceLabel, plainHttp, profile },
    githubApi: githubApi === undefined ? undefined : bareUrl(githubApi),
  };
  const ends: Record<string, string | boolean> = {};
  for (const [key, value] of Object.entries(values)) if (value !== undefined) ends[key] = value;
  return ends;
}

/**
 * Reads what {@link makeEnds} wrote.
 * @throws FerryError `VERSION_MISMATCH` for what another version wrote
 */
export function parseEnds(ends: RunEnds): ParsedEnds {
  try {
    const { source, destination, fallbacks, githubApi, ...flags } = endsSchema.parse(ends);
    return {
      source: parseLocation(source),
      destination: parseLocation(destination),
      fallbacks:
        fallbacks === undefined ? [] : z.array(z.string()).parse(JSON.parse(fallbacks)).map(parseLocation),
      flags: { ...flags, githubApi: githubApi === undefined ? undefined : parseGithubApi(githubApi) },
    };
  } catch (cause) {
    throw new FerryError('VERSION_MISMATCH', 'source and destination of the run cannot be read', {
      cause,
      hint: 'install the same version of conda-ferry on all machines',
    });
  }
}

/** A location without secrets, which means the same in any folder. */
function formatLocation(location: Location): string {
  if (location.kind === 'web') return bareUrl(location.url);
  if (location.kind === 'folder') return pathToFileURL(location.path).href;
  const store = formatStore(location);
  return location.kind === 'layout' || location.path === '' ? store : `${store}/${location.path}`;
}

/** Without user name, password, conda's token and all that could be one. */
function bareUrl(url: URL): string {
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  bare.search = '';
  bare.hash = '';
  // Anywhere in the path, as conda itself looks for it.
  while (/\/t\/[^/]+/.test(bare.pathname)) bare.pathname = bare.pathname.replace(/\/t\/[^/]+/, '');
  return bare.href;
}
