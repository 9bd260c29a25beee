/**
 * Runs the benchmarks, each in processes of its own, and prints one JSON document: ours, the limit, their ratio and
 * all samples. Exits with 0 also below a target; the numbers say it.
 *
 * `npm run bench [-- NAME … [--FLAG …]]`; `simulate` takes minutes and flags, and runs only where it is named.
 */
import { argv, stderr, stdout } from 'node:process';
import { benchCheck } from './check.mjs';
import { benchGateway } from './gateway.mjs';
import { benchMirrorLarge } from './mirror-large.mjs';
import { benchMirrorSmall } from './mirror-small.mjs';
import { benchPublish } from './publish.mjs';
import { benchQueue } from './queue.mjs';
import { benchPlan, benchScanner } from './scanner.mjs';
import { benchSimulate } from './simulate.mjs';

/** @type {Readonly<Record<string, (flags: readonly string[]) => Promise<object>>>} */
const benchmarks = {
  'mirror-small': benchMirrorSmall,
  scanner: benchScanner,
  plan: benchPlan,
  'mirror-large': benchMirrorLarge,
  check: benchCheck,
  publish: benchPublish,
  gateway: benchGateway,
  simulate: benchSimulate,
  queue: benchQueue,
};
const ONLY_BY_NAME = ['simulate'];

const given = argv.slice(2);
const flagsFrom = given.findIndex((word) => word.startsWith('--'));
const names = flagsFrom === -1 ? given : given.slice(0, flagsFrom);
const flags = flagsFrom === -1 ? [] : given.slice(flagsFrom);
const all = Object.keys(benchmarks).filter((name) => !ONLY_BY_NAME.includes(name));
const wanted = names.length > 0 ? names : all;
/** @type {Record<string, object>} */
const results = {};
for (const name of wanted) {
  const benchmark = benchmarks[name];
  if (benchmark === undefined) throw new Error(`there is no benchmark ${name}`);
  stderr.write(`${name}\n`);
  results[name] = await benchmark(flags);
}
stdout.write(`${JSON.stringify(results, undefined, 2)}\n`);
