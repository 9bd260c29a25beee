/**
 * A first mirror of all of conda-forge to GHCR, simulated: the planner, the batching of jobs, the limiter and the checkpoints
 * are the real ones, the registry and time are not. What the numbers come to is in docs/scale.md.
 *
 * `npm run bench -- simulate [--archives N] [--credentials N] [--workers N] …`; what can be set is in `FLAGS`.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { execPath, memoryUsage, resourceUsage, stderr } from 'node:process';
import { parseArgs, promisify } from 'node:util';
import { ARCHIVES, SUBDIRS } from './simulate/channel.mjs';
import { planWork } from './simulate/plan.mjs';
import { LIMIT_PER_MINUTE } from './simulate/registry.mjs';
import { sampleRun, wholeRun } from './simulate/runs.mjs';

const run = promisify(execFile);

const FLAGS = {
  /** Of the channel. */
  archives: String(ARCHIVES),
  /** Credentials of the whole run; samples are taken of 1, 2, 4 and 8. */
  credentials: '1',
  /** Worker processes for each credential. */
  workers: '2',
  /** Jobs of a worker at once. */
  concurrency: '16',
  /** Megabits a second of each worker, and of one connection at most. */
  line: '1000',
  connection: '200',
  /** Workers that die, a day. */
  deaths: '2',
  /** How often another coordinator has to take over. */
  takeovers: '2',
  /** Archives in 10,000 that cannot be carried. */
  quarantine: '1',
  /** Tags of a sample, for each credential: some minutes at the limit. */
  sample: '5000',
  /** What to do, since each takes minutes. */
  parts: 'memory,samples,whole',
};

const CREDENTIALS = [1, 2, 4, 8];

/**
 * @param {readonly string[]} args
 * @returns {Promise<object>}
 */
export async function benchSimulate(args) {
  const startedAt = performance.now();
  const options = Object.fromEntries(
    Object.entries(FLAGS).map(([name, fallback]) => [
      name,
      { type: /** @type {const} */ ('string'), default: fallback },
    ]),
  );
  const { values } = parseArgs({ args: [...args], options, strict: true });
  const of = (/** @type {keyof typeof FLAGS} */ name) => Number(values[name]);
  const archives = of('archives');
  const works = [];
  for (const shape of SUBDIRS) works.push(await planWork(shape, archives));
  const channel = channelOf(works);
  say(`${channel.archives} archives of ${channel.repositories} repositories, ${terabytes(channel.bytes)} TB`);
  const parts = String(values['parts']).split(',');
  const coordinator = parts.includes('memory') ? await coordinatorMemory(archives) : undefined;
  const common = {
    concurrency: of('concurrency'),
    lineMegabits: of('line'),
    connectionMegabits: of('connection'),
    quarantineShare: of('quarantine') / 10_000,
  };
  const samples = [];
  const counts = parts.includes('samples') ? CREDENTIALS : [];
  for (const singlePost of [false, true]) {
    for (const credentials of counts) {
      const workers = credentials * of('workers');
      const every = Math.max(1, Math.floor(channel.tags / (of('sample') * credentials)));
      const sampled = await sampleRun(works, {
        ...{ ...common, credentials, workers, singlePost, every, deathsPerDay: 0, isShared: true },
      });
      const way = singlePost ? 'single POST' : 'POST and PUT';
      say(
        `${way}, ${credentials} credentials, ${workers} workers: ${sampled.days.toFixed(1)} days, ` +
          `${sampled.requestsPerTag.toFixed(2)} requests a tag, ${percent(sampled.shareOfLimit)} of the limit, ` +
          `${sampled.refused} refused`,
      );
      samples.push({ way, credentials, workers, ...sampled });
    }
  }
  const whole = parts.includes('whole') ? await runWhole(works, channel.tags, common, of) : undefined;
  return {
    what: `a first mirror of ${channel.archives} archives to GHCR, in virtual time`,
    settings: Object.fromEntries(
      Object.entries(values).map(([name, value]) => [name, name === 'parts' ? value : Number(value)]),
    ),
    ...{ channel, samples, whole, coordinator },
    seconds: (performance.now() - startedAt) / 1000,
    residentBytes: { now: memoryUsage().rss, peak: resourceUsage().maxRSS * 1024 },
  };
}

/** @param {readonly import('./simulate/plan.mjs').SubdirWork[]} works */
function channelOf(works) {
  const sum = (
    /** @type {'archives' | 'tags' | 'repositories' | 'bytes' | 'repodataBytes' | 'jobs' | 'jobBytes'} */ of,
  ) => works.reduce((all, { facts }) => all + facts[of], 0);
  return {
    ...{
      archives: sum('archives'),
      tags: sum('tags'),
      repositories: sum('repositories'),
      bytes: sum('bytes'),
    },
    ...{
      repodataBytes: sum('repodataBytes'),
      jobs: sum('jobs'),
      jobJsonBytesPerArchive: sum('jobBytes') / sum('archives'),
    },
    subdirs: Object.fromEntries(works.map(({ subdir, facts }) => [subdir, facts])),
  };
}

/**
 * @typedef {object} CoordinatorMemory
 * @property {number} archives
 * @property {number} plannedBytes
 * @property {number} peakBytes
 * @property {import('./simulate/redis-memory.mjs').RedisMemory} [redis]
 */

/**
 * @param {number} archives
 * @returns {Promise<CoordinatorMemory>}
 */
async function coordinatorMemory(archives) {
  const file = join(import.meta.dirname, 'simulate-coordinator.mjs');
  const { stdout } = await run(execPath, [file, String(archives)]);
  const memory = /** @type {CoordinatorMemory} */ (JSON.parse(stdout));
  say(
    `coordinator: ${mebibytes(memory.plannedBytes)} MiB with all plans, ${mebibytes(memory.peakBytes)} MiB at most`,
  );
  const { redis } = memory;
  if (redis === undefined) say('no redis-server: memory of jobs is told by their JSON alone');
  else {
    say(
      `Redis: ${redis.bytesPerArchive.toFixed(0)} bytes an archive, ${redis.bytesPerJob.toFixed(0)} a job ` +
        `(${redis.archives} archives, ${redis.jobs} jobs, ${redis.seconds.toFixed(1)} s)`,
    );
  }
  return memory;
}

/**
 * @param {readonly import('./simulate/plan.mjs').SubdirWork[]} works
 * @param {number} tags
 * @param {Pick<import('./simulate/runs.mjs').RunOptions,
 *   'concurrency' | 'lineMegabits' | 'connectionMegabits' | 'quarantineShare'>} common
 * @param {(name: keyof typeof FLAGS) => number} of
 */
async function runWhole(works, tags, common, of) {
  const credentials = of('credentials');
  const guess = (tags * 7.1) / (LIMIT_PER_MINUTE * 0.95 * credentials) / 1440;
  const takeovers = of('takeovers');
  const takeoverDays = Array.from({ length: takeovers }, (_, i) => (guess * (i + 1)) / (takeovers + 1));
  const workers = credentials * of('workers');
  const whole = await wholeRun(works, {
    ...{ ...common, credentials, workers, singlePost: false, deathsPerDay: of('deaths'), isShared: false },
    ...{ takeoverDays, onProgress: say },
  });
  sayWhole(whole);
  return { credentials, workers, ...whole };
}

/** @param {Awaited<ReturnType<typeof wholeRun>>} whole */
function sayWhole({ days, requestsInAll, refused, shareOfLimit, bytesUp, megabitsPerSecond, ...whole }) {
  say(
    `whole run: ${days.toFixed(2)} days, ${requestsInAll} requests, ${refused} refused, ` +
      `${percent(shareOfLimit)} of the limit, ${terabytes(bytesUp)} TB up, ${megabitsPerSecond.toFixed(0)} Mb/s`,
  );
  const { checkpoints, takeovers, passes, newAtEnd, deaths, repeatedTags, failedTags } = whole;
  say(`${deaths} workers died, ${repeatedTags} tags looked at again for that; ${failedTags} tags failed`);
  const { count, bytes, requests, longestHours } = checkpoints;
  say(
    `${count} checkpoints, ${(bytes / 1e9).toFixed(2)} GB, ${requests} requests, at most ${longestHours.toFixed(1)} h apart`,
  );
  for (const { day, minutes, requests: asked, unknownTags } of takeovers) {
    say(
      `takeover on day ${day.toFixed(2)}: ${minutes.toFixed(1)} minutes, ${asked} requests, ${unknownTags} tags nobody knew of`,
    );
  }
  for (const { archives, minutes, requests: sent } of passes)
    say(`pass: ${archives} archives, ${minutes.toFixed(1)} minutes, ${sent} requests`);
  say(`${newAtEnd} archives came to the source during the last pass`);
}

/** @param {string} text */
function say(text) {
  stderr.write(`  ${text}\n`);
}

/** @param {number} share */
function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

/** @param {number} bytes */
function terabytes(bytes) {
  return (bytes / 1e12).toFixed(2);
}

/** @param {number} bytes */
function mebibytes(bytes) {
  return Math.round(bytes / 1024 / 1024);
}
