/**
 * The plan of each subdir, made by the planner and batched into jobs as the coordinator does it, and kept as numbers: of four
 * million archives nothing else has to be remembered to know what is sent.
 */
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { Repodata } from '#ferry/conda/repodata/repodata.js';
import { KnownArchives } from '#ferry/mirror/known-archives.js';
import { planSubdir } from '#ferry/mirror/plan.js';
import { WantedRecords } from '#ferry/mirror/wanted-records.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { batchItems, tagsPerJob } from '#ferry/queue/batch-items.js';
import { tagRow } from '#ferry/queue/job.js';
import { namesOf, repodataOf } from './channel.mjs';

/**
 * What there is to carry in a subdir. Tag `t` has the bytes `sizes[t]`, and those of its twin `twins[t]`, 0 where there is
 * none; job `j` has the tags from `jobs[j]` up to `jobs[j + 1]`, all of the repository `repositories[j]`.
 * @typedef {{ subdir: string, sizes: Float64Array, twins: Float64Array, jobs: Uint32Array, repositories: Uint32Array,
 *   facts: PlanFacts }} SubdirWork
 */

/**
 * @typedef {object} PlanFacts
 * @property {number} archives
 * @property {number} tags
 * @property {number} repositories
 * @property {number} bytes of archives
 * @property {number} repodataBytes plain
 * @property {number} jobs
 * @property {number} jobBytes of their JSON
 * @property {number} seconds that reading the repodata and planning took
 */

const noSuspects = () => false;
/** The planner asks the store for names and nothing else. */
const store = new ChannelStore(new MemoryRegistry(), 'simulate', schemaV0);

/**
 * Plans a subdir.
 * @param {import('./channel.mjs').SubdirShape} shape
 * @param {number} archives of the whole channel
 * @param {{ onPlan?: (plan: import('#ferry/mirror/plan.js').SubdirPlan) => void,
 *   onJobs?: (jobs: readonly object[]) => Promise<void> }} [options] `onJobs` gets what goes to Redis, some at a time
 * @returns {Promise<SubdirWork>}
 */
export async function planWork(shape, archives, { onPlan, onJobs } = {}) {
  const { subdir } = shape;
  const names = namesOf(shape, archives);
  const startedAt = performance.now();
  // The text is made anew each time it is read, and is the same.
  const repodata = await Repodata.read(async function* () {
    yield* repodataOf(subdir, names);
  }, subdir);
  const wanted = new WantedRecords({ store, repodata });
  const plan = planSubdir({ store, known: new KnownArchives(undefined, new Map()) }, wanted);
  const seconds = (performance.now() - startedAt) / 1000;
  onPlan?.(plan);
  const sizes = new Float64Array(plan.artifacts);
  const twins = new Float64Array(plan.artifacts);
  /** @type {number[]} */
  const jobs = [];
  /** @type {number[]} */
  const repositories = [];
  const facts = { archives: plan.toAdd, tags: plan.artifacts, repositories: 0, bytes: plan.bytes };
  let [tag, jobBytes] = [0, 0];
  let repository = '';
  /** @type {object[]} */
  let batch = [];
  for (const items of batchItems(plan.items(), { maxTags: tagsPerJob(plan.artifacts) })) {
    const data = { s: subdir, t: items.map((item) => tagRow(item, noSuspects)) };
    jobBytes += Buffer.byteLength(JSON.stringify(data));
    if (items[0]?.place.repository !== repository) {
      repository = items[0]?.place.repository ?? '';
      facts.repositories += 1;
    }
    jobs.push(tag);
    repositories.push(facts.repositories - 1);
    for (const { add } of items) {
      sizes[tag] = add[0]?.size ?? 0;
      twins[tag] = add[1]?.size ?? 0;
      tag += 1;
    }
    if (onJobs === undefined) continue;
    batch.push(data);
    if (batch.length < 100) continue;
    await onJobs(batch);
    batch = [];
  }
  if (batch.length > 0) await onJobs?.(batch);
  if (plan.toAdd !== wanted.repodata.recordCount)
    throw new Error(`the plan of ${subdir} leaves something out`);
  return {
    ...{ subdir, sizes, twins },
    jobs: Uint32Array.from([...jobs, tag]),
    repositories: Uint32Array.from(repositories),
    facts: { ...facts, repodataBytes: repodata.size, jobs: jobs.length, jobBytes, seconds },
  };
}
