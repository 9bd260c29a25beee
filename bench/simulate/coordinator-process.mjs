/**
 * `node coordinator-process.mjs ARCHIVES`: what a coordinator holds in memory, in a process of its own. Plans all subdirs and
 * keeps the plans, as a run does; then puts the jobs of the largest subdir into a Redis.
 */
import { argv, memoryUsage, resourceUsage, stdout } from 'node:process';
import { SUBDIRS } from './channel.mjs';
import { planWork } from './plan.mjs';
import { measureRedis } from './redis-memory.mjs';

const archives = Number(argv[2]);
/** @type {import('#ferry/mirror/plan.js').SubdirPlan[]} */
const plans = [];
for (const shape of SUBDIRS) await planWork(shape, archives, { onPlan: (plan) => plans.push(plan) });
const plannedBytes = memoryUsage().rss;
const plansPeakBytes = resourceUsage().maxRSS * 1024;
const [largest] = SUBDIRS;
const redis =
  largest === undefined
    ? undefined
    : await measureRedis(async (add) => (await planWork(largest, archives, { onJobs: add })).facts.archives);
const peakBytes = resourceUsage().maxRSS * 1024;
const kept = plans.reduce((sum, { toAdd }) => sum + toAdd, 0);
stdout.write(JSON.stringify({ archives: kept, plannedBytes, plansPeakBytes, peakBytes, redis }));
