/**
 * Prune: what is stored and not wanted any more goes, by a plan that is made first. This file is the plan as a document.
 */
import { z } from 'zod';
import { isSubdir } from '../../conda/names.js';
import { FerryError } from '../../errors.js';
import { isDigest, type Digest } from '../../io/digest.js';
import { isTag } from '../../oci/reference.js';
import { METADATA_FILES } from '../../artifact/schema.js';

// A plan may come from a file, which somebody may have edited: what it names is looked at again before it goes.
const digest = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value));
const tag = z.string().refine(isTag);
const time = z.iso.datetime();

const archiveSchema = z.object({
  filename: z.string(),
  /** Of the archive. */
  digest,
  /** Of the archive, in bytes. */
  size: z.int().nonnegative(),
  /** Since when it is not listed, at the latest. */
  since: time,
});

const artifactSchema = z.object({
  /** Last component of the repository's name, such as `zlib`. */
  repository: z.string(),
  tag,
  /** What the tag names. */
  manifest: digest,
  /** Archives that go. */
  archives: z.array(archiveSchema).min(1),
  /** The archive that stays, so that the manifest is written anew without the other. */
  stays: z.string().optional(),
  /** What becomes free: layers that nothing else names, in bytes. */
  bytes: z.int().nonnegative(),
});

const staySchema = z.object({
  filename: z.string(),
  /**
   * `grace`: not long enough unlisted. `generation`: one that can be gone back to lists it. `pinned`. `removed`: the
   * repodata says so, which is no wish to lose it (CEP 36). `failed`: the source lists it, and it could not be mirrored.
   */
  reason: z.enum(['grace', 'generation', 'pinned', 'removed', 'failed']),
  /** When the grace period ends. */
  until: time.optional(),
});

const subdirSchema = z.object({
  subdir: z.string().refine(isSubdir),
  /** Manifest of the published repodata that the plan was made from. */
  repodata: digest,
  /** Ordered by repository and tag. */
  artifacts: z.array(artifactSchema),
  /** Archives that the ledger knows of and that are not there. */
  forget: z.array(z.string()),
  /** History tags to delete. */
  generations: z.array(z.object({ file: z.enum(METADATA_FILES), tags: z.array(tag) })),
  /** Tags of attestation sidecars that go with their archives. */
  sidecars: z.array(tag),
  stays: z.array(staySchema),
  /** Since when what stays is not listed: file name to time, for the ledger. */
  unlisted: z.record(z.string(), time),
  /** Archives of which nobody knew since when they are not listed: it counts from this plan, once it is applied. */
  firstSeen: z.array(z.string()),
  warnings: z.array(z.string()),
});

const planSchema = z.object({
  prune_plan_version: z.literal(1),
  channel: z.string(),
  schema: z.string(),
  made: time,
  policy: z.object({
    /** In milliseconds. */
    grace: z.number().nonnegative(),
    keep_generations: z.int().positive(),
    delete_generations: z.boolean(),
    removed: z.boolean(),
    pins: z.array(z.string()),
    scan: z.boolean(),
  }),
  subdirs: z.array(subdirSchema),
});

/** An archive to delete. */
export type PlannedArchive = Readonly<z.infer<typeof archiveSchema>>;
/** A tag to delete, or to write anew with one archive less. */
export type PlannedArtifact = Readonly<z.infer<typeof artifactSchema>>;
/** An unlisted archive that stays, with why. */
export type StayingArchive = Readonly<z.infer<typeof staySchema>>;
/** The plan of one subdir. */
export type SubdirPrunePlan = Readonly<z.infer<typeof subdirSchema>>;
/** What a prune would do. */
export type PrunePlan = Readonly<z.infer<typeof planSchema>>;

/** Reads a plan from a file's text; `name` is for the message. @throws FerryError `PLAN_INVALID` */
export function parsePrunePlan(text: string, name: string): PrunePlan {
  try {
    return planSchema.parse(JSON.parse(text));
  } catch (cause) {
    const isOurs = cause instanceof z.ZodError || cause instanceof SyntaxError;
    if (!isOurs) throw cause;
    throw new FerryError('PLAN_INVALID', `${name} is no plan of \`prune\``, {
      hint: 'make one with conda-ferry prune CHANNEL --plan-out FILE',
    });
  }
}

/** Writes a plan so that {@link parsePrunePlan} reads the same. */
export function formatPrunePlan(plan: PrunePlan): string {
  return `${JSON.stringify(plan, undefined, 2)}\n`;
}
