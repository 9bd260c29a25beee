/**
 * Runs the benchmarks, each in processes of its own, and prints one JSON document: ours, the limit, their ratio and
 * all samples. Exits with 0 also below a target; the numbers say it.
 *
 * `npm run bench [-- NAME …]`
 */
import { argv, stderr, stdout } from 'node:process';
import { benchCheck } from './check.mjs';
import { benchGateway } from './gateway.mjs';
import { benchMirrorLarge } from './mirror-large.mjs';
import { benchMirrorSmall } from './mirror-small.mjs';
import { benchPublish } from './publish.mjs';
import { benchPlan, benchScanner } from './scanner.mjs';

/** @type {Readonly<Record<string, () => Promise<object>>>} */
const benchmarks = {
  'mirror-small': benchMirrorSmall,
  scanner: benchScanner,
  plan: benchPlan,
  'mirror-large': benchMirrorLarge,
  check: benchCheck,
  publish: benchPublish,
  gateway: benchGateway,
};

const wanted = argv.length > 2 ? argv.slice(2) : Object.keys(benchmarks);
/** @type {Record<string, object>} */
const results = {};
for (const name of wanted) {
  const benchmark = benchmarks[name];
  if (benchmark === undefined) throw new Error(`there is no benchmark ${name}`);
  stderr.write(`${name}\n`);
  results[name] = await benchmark();
}
stdout.write(`${JSON.stringify(results, undefined, 2)}\n`);
