/**
 * `node simulate-coordinator.mjs ARCHIVES`: what a coordinator holds in memory, in a process of its own. Plans all subdirs and
 * keeps the plans, as a run does; then puts the jobs of the largest subdir into a Redis.
 */
import { argv, memoryUsage, resourceUsage, stdout } from 'node:process';
import { SUBDIRS } from './simulate/channel.mjs';
import { planWork } from './simulate/plan.mjs';
import { measureRedis } from './simulate/redis-memory.mjs';

const archives = Number(argv[2]);
/** @type {import('#ferry/mirror/plan.js').SubdirPlan[]} */
const plans = [];
const onPlan = (/** @type {import('#ferry/mirror/plan.js').SubdirPlan} */ plan) => void plans.push(plan);
const [largest, ...others] = SUBDIRS;
if (largest === undefined) throw new Error('there is no subdir');
for (const shape of others) await planWork(shape, archives, { onPlan });
const fill = async (/** @type {(jobs: readonly object[]) => Promise<void>} */ onJobs) =>
  (await planWork(largest, archives, { onPlan, onJobs })).facts.archives;
const redis = await measureRedis(fill);
if (redis === undefined) await planWork(largest, archives, { onPlan });
const plannedBytes = memoryUsage().rss;
const peakBytes = resourceUsage().maxRSS * 1024;
const kept = plans.reduce((sum, { toAdd }) => sum + toAdd, 0);
stdout.write(JSON.stringify({ archives: kept, plannedBytes, peakBytes, redis }));
