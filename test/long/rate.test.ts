import { expect, test } from 'vitest';
import { HostLimits } from '#ferry/http/limit.js';
import { useGhcrDouble } from '../support/double/ghcr.js';
import { mirrorInto, REAL_CLOCK, STORM_PATH, doubleReader, writeStormChannel } from '../support/storm.js';
import { faultsOf, listedRecords } from '../support/audit.js';
import { tempFolder } from '../support/temp.js';

const LIMIT = 2000;
const MINUTE_MS = 60_000;
/** Some 8.1 requests each, so that a run takes more than three minutes. */
const ARCHIVES = 900;
const owner = { username: 'owner', password: 'ghp_owner', owners: ['org'] } as const;

/** In real time, since that is what GHCR counts in; `test/http/steady-rate.test.ts` is the same in virtual time. */
test.each([
  ['learned from the first refusal', undefined],
  ['known beforehand', LIMIT],
])(
  'a limit of 2000 requests a minute, %s, is used by 85 percent after the first minute',
  async (how, limit) => {
    const folder = await tempFolder();
    await writeStormChannel(folder, ARCHIVES);
    const ghcr = await useGhcrDouble({ users: [owner], limitPerMinute: LIMIT });
    const limits = new HostLimits({ statedLimit: (origin) => (origin === ghcr.origin ? limit : undefined) });
    const startedAt = performance.now();
    const run = await mirrorInto(ghcr, folder, { user: owner, clock: REAL_CLOCK, http: { limits } });
    const minutes = (performance.now() - startedAt) / MINUTE_MS;
    expect(run.report.subdirs.flatMap(({ failed }) => failed)).toEqual([]);
    expect(await listedRecords(doubleReader(ghcr), `${STORM_PATH}/noarch`)).toHaveLength(ARCHIVES);
    expect(await faultsOf(doubleReader(ghcr), `${STORM_PATH}/noarch`)).toEqual([]);

    // Tokens have no limit at the double.
    const limited = ghcr.requests.filter(({ kind }) => kind !== 'token');
    const refused = limited.filter(({ status }) => status === 429).length;
    const perMinute = Array.from({ length: Math.ceil(minutes) }, (_, minute) => {
      const from = startedAt + minute * MINUTE_MS;
      return limited.filter(({ at, status }) => at >= from && at < from + MINUTE_MS && status !== 429).length;
    });
    console.log(
      `${how}: ${perMinute.join(', ')} requests in ${minutes.toFixed(2)} minutes, ${refused} refused, ${run.tokens} tokens`,
    );
    expect(minutes).toBeGreaterThan(3);
    for (const count of perMinute.slice(1, 3)) expect(count).toBeGreaterThanOrEqual(0.85 * LIMIT);
    expect(refused).toBeLessThanOrEqual(10);
  },
);
