import { z } from 'zod';
import { isArchiveFilename, isSubdir, parseArchiveFilename } from '../conda/names.js';
import { archiveIdentity } from '../conda/package-record.js';
import { FerryError } from '../errors.js';
import { compareText } from '../io/compare-text.js';
import { isDigest, type Digest } from '../io/digest.js';
import type { MirrorPlan, PlannedSubdir } from './report.js';

/** Packages named for their size. */
const LARGEST_PACKAGES = 20;

const digest = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value));
const refusal = z.looseObject({ filename: z.string(), code: z.string(), message: z.string() });

const plannedArchive = z.looseObject({
  filename: z.string().refine(isArchiveFilename),
  /** Such as `sha256:…`, or `md5:…` where a record has no more. */
  identity: z.string(),
  size: z.int().nonnegative().optional(),
});

const planSchema = z.looseObject({
  plan_version: z.literal(1),
  created: z.iso.datetime(),
  source: z.string(),
  destination: z.string(),
  schema: z.string(),
  /** Whether the registry of both ends takes blobs over, so that archives need not move. */
  mounts: z.boolean().optional(),
  filters: digest,
  totals: z.looseObject({
    archives: z.int(),
    artifacts: z.int(),
    bytes: z.int(),
    requests: z.int(),
    seconds: z.number().optional(),
  }),
  largest_packages: z.array(z.looseObject({ name: z.string(), archives: z.int(), bytes: z.int() })),
  subdirs: z.array(
    z.looseObject({
      subdir: z.string().refine(isSubdir),
      status: z.enum(['planned', 'current', 'absent', 'retry']),
      /** Manifest that the repodata's `latest` names while this is planned. */
      latest: digest.optional(),
      add: z.array(plannedArchive).optional(),
      /** Archives whose names stay and whose bytes change. */
      changed: z.array(plannedArchive).optional(),
      withheld: z.array(refusal).optional(),
      unusable: z.array(refusal).optional(),
      gone: z.array(z.string()).optional(),
    }),
  ),
});

/** A plan as a file; unknown fields stay. */
export type PlanDocument = z.infer<typeof planSchema>;

/** Options of {@link makePlanDocument}. */
export interface PlanDocumentOptions {
  readonly now: Date;
  /** Requests in a minute that the time is reckoned at. @defaultValue no time is told */
  readonly requestsPerMinute?: number | undefined;
}

/** Writes a plan down, for people to look through and for `--apply`. */
export function makePlanDocument(plan: MirrorPlan, options: PlanDocumentOptions): PlanDocument {
  const packages = new Map<string, { archives: number; bytes: number }>();
  const ofChannel = plan.requests.archives + plan.requests.metadata;
  const totals = { archives: 0, artifacts: 0, bytes: 0, requests: ofChannel };
  const subdirs = plan.subdirs.map((planned) => {
    const entry = subdirEntry(planned);
    for (const { filename, size = 0 } of [...(entry.add ?? []), ...(entry.changed ?? [])]) {
      const { name } = parseArchiveFilename(filename);
      const total = packages.get(name) ?? { archives: 0, bytes: 0 };
      packages.set(name, { archives: total.archives + 1, bytes: total.bytes + size });
    }
    if (planned.status === 'planned') {
      totals.archives += planned.plan.toAdd;
      totals.artifacts += planned.plan.artifacts;
      totals.bytes += planned.plan.bytes;
    }
    totals.requests += planned.requests.archives + planned.requests.metadata;
    return entry;
  });
  const largest = [...packages]
    .map(([name, total]) => ({ name, ...total }))
    .sort((a, b) => b.bytes - a.bytes || compareText(a.name, b.name))
    .slice(0, LARGEST_PACKAGES);
  const { requestsPerMinute } = options;
  return {
    plan_version: 1,
    created: options.now.toISOString(),
    source: plan.source,
    destination: plan.destination,
    schema: plan.schema,
    ...(plan.mounts === true ? { mounts: true } : {}),
    filters: plan.filters,
    totals: {
      ...totals,
      ...(requestsPerMinute === undefined
        ? {}
        : { seconds: Math.ceil((totals.requests / requestsPerMinute) * 60) }),
    },
    largest_packages: largest,
    subdirs,
  };
}

function subdirEntry(planned: PlannedSubdir): PlanDocument['subdirs'][number] {
  const { subdir, status, requests } = planned;
  if (planned.status !== 'planned')
    return {
      subdir,
      status,
      requests,
      ...(planned.status === 'retry' ? { quarantined: planned.quarantined } : {}),
    };
  const { plan, latest, gone, leftOut } = planned;
  const add: z.infer<typeof plannedArchive>[] = [];
  const changed: z.infer<typeof plannedArchive>[] = [];
  for (const item of plan.items()) {
    for (const record of item.add) {
      const { filename, size } = record;
      const entry = {
        filename,
        identity: archiveIdentity(record) ?? '',
        ...(size === undefined ? {} : { size }),
      };
      (plan.before.has(filename) ? changed : add).push(entry);
    }
  }
  const { listed, there, artifacts, bytes } = plan;
  return {
    ...{ subdir, status, listed, there, artifacts, bytes, requests },
    ...(latest === undefined ? {} : { latest }),
    add,
    changed,
    withheld: plan.withheld.map((refused) => ({ ...refused })),
    unusable: plan.invalid.map((refused) => ({ ...refused })),
    gone: [...gone],
    kept: plan.kept.size,
    left_out: leftOut,
  };
}

/** Reads a plan back. @throws FerryError `USAGE` */
export function parsePlanDocument(text: string, name: string): PlanDocument {
  try {
    return planSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new FerryError('USAGE', `\`${name}\` is no plan`, {
      cause,
      hint: 'make one with `conda-ferry mirror … --plan --plan-out FILE`',
    });
  }
}

/** What a plan lets a run do: the archives of each subdir, with the bytes they had. */
export class AppliedPlan {
  readonly document: PlanDocument;
  readonly #archives: ReadonlyMap<string, ReadonlyMap<string, string>>;

  constructor(document: PlanDocument) {
    this.document = document;
    this.#archives = new Map(
      document.subdirs.map(({ subdir, add = [], changed = [] }) => [
        subdir,
        new Map([...add, ...changed].map(({ filename, identity }) => [filename, identity])),
      ]),
    );
  }

  /** Identity that an archive had when it was planned; `undefined` for one that the plan does not name. */
  identity(subdir: string, filename: string): string | undefined {
    return this.#archives.get(subdir)?.get(filename);
  }

  /** All that the plan names in a subdir. */
  filenames(subdir: string): Iterable<string> {
    return this.#archives.get(subdir)?.keys() ?? [];
  }

  /** As {@link check}, where the plan has something to do in a subdir. @throws FerryError `PLAN_STALE` */
  checkPlanned(subdir: string, latest: Digest | undefined): void {
    if ((this.#archives.get(subdir)?.size ?? 0) > 0) this.check(subdir, latest);
  }

  /** @throws FerryError `PLAN_STALE` where the plan is of other ends or choices, or the channel was published anew */
  check(subdir: string, latest: Digest | undefined): void {
    const planned = this.document.subdirs.find((entry) => entry.subdir === subdir);
    if (planned?.latest === latest) return;
    throw new FerryError('PLAN_STALE', `\`${subdir}\` was published anew since it was planned`, {
      hint: 'plan again',
    });
  }

  /** @throws FerryError `PLAN_STALE` */
  checkEnds(ends: Pick<MirrorPlan, 'source' | 'destination' | 'schema' | 'filters'>): void {
    for (const field of ['source', 'destination', 'schema', 'filters'] as const) {
      if (this.document[field] === ends[field]) continue;
      const what = field === 'filters' ? 'other filters' : `${field} \`${this.document[field]}\``;
      throw new FerryError('PLAN_STALE', `the plan was made for ${what}`, {
        hint: 'give the same locations and filters as when it was planned',
      });
    }
  }
}
