import { beforeAll, describe, expect, test } from 'vitest';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isFerryError } from '#ferry/errors.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { digestHex } from '#ferry/io/digest.js';
import { mergeLog } from '#ferry/publish/commit.js';
import { Listing } from '#ferry/publish/listing.js';
import { mergeOperations } from '#ferry/publish/merge.js';
import type { PreparedArchive } from '#ferry/publish/prepare-archive.js';
import type { Outcome } from '#ferry/publish/publish-subdir.js';
import { NOTHING_MERGED } from '#ferry/artifact/merge-mark.js';
import { prepared, SharedChannel, SUBDIR } from '../support/publishers.js';
import type { Ending, Weather, Writer } from '../support/scheduled-registry.js';

/** A few for every day; some thousands after a change of what they test. */
const SEEDS = Number(process.env['CONDA_FERRY_TEST_SEEDS'] ?? 40);
const FIRST_SEED = Number(process.env['CONDA_FERRY_TEST_SEED'] ?? 1);
const FAIR: Weather = { lost: 0, broken: 0, killed: 0 };
const ROUGH: Weather = { lost: 0.1, broken: 0, killed: 0 };
const DEADLY: Weather = { lost: 0.1, broken: 0.003, killed: 0.004 };

const distinct: PreparedArchive[] = [];
/** Two `.conda` and one `.tar.bz2` of one name-version-build. */
let rivals: { readonly a: PreparedArchive; readonly b: PreparedArchive; readonly twin: PreparedArchive };

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-test-'));
  for (let i = 0; i < 10; i += 1) distinct.push(await prepared(folder, { name: `sim-${i}` }));
  rivals = {
    a: await prepared(folder, { name: 'rival', content: 'a' }),
    b: await prepared(folder, { name: 'rival', content: 'b' }),
    twin: await prepared(folder, { name: 'rival', extension: 'tar.bz2' }),
  };
  await rm(folder, { recursive: true });
});

const seeds = Array.from({ length: SEEDS }, (_, i) => FIRST_SEED + i);

describe('writers of different archives', () => {
  test.each([
    ['fair', FAIR, 0],
    ['rough', ROUGH, 0],
    ['deadly', DEADLY, 1000],
  ])('in %s weather nothing that was reported is lost', async (_, weather, skewMs) => {
    for (const seed of seeds) {
      const channel = new SharedChannel(seed);
      const { random } = channel.scheduler;
      const shared = [...distinct];
      const writers = Array.from(
        { length: 2 + Math.floor(random() * 4) },
        (_, i): Writer<readonly Outcome[]> => {
          const name = `writer ${i}`;
          const archives = shared.splice(0, 1 + Math.floor(random() * 2));
          const options = channel.disturbed(name, weather, skewMs);
          return { name, work: async () => channel.push(options, archives) };
        },
      );
      const reported = new Set<string>();
      const look = async (step: number): Promise<void> => {
        if (step % 8 !== 0) return;
        await expectReported(channel, reported, seed);
      };
      for (const writer of writers) {
        const { work } = writer;
        Object.assign(writer, {
          work: async () => {
            const outcomes = await work();
            for (const outcome of outcomes) {
              if ('error' in outcome) throw outcome.error;
              reported.add(outcome.archive.layer.filename);
            }
            return outcomes;
          },
        });
      }
      const endings = await channel.scheduler.run(writers, look);
      await expectReported(channel, reported, seed);
      const unhurt = [...endings.values()].every((ending) => ending !== 'killed' && 'value' in ending);
      if (unhurt) expect(reported.size, `seed ${seed}`).toBe(distinct.length - shared.length);
      else expectKnown(endings, seed);
      await expectComplete(channel, seed, unhurt);
      expect(await channel.lost(), `seed ${seed}`).toEqual([]);
    }
  });
});

describe('writers of one name', () => {
  test.each([
    ['fair', FAIR],
    ['rough', ROUGH],
  ])('in %s weather twins end as one artifact with both layers', async (_, weather) => {
    for (const seed of seeds) {
      const channel = new SharedChannel(seed);
      const writers = [[rivals.a], [rivals.twin], ...(seed % 3 === 0 ? [[rivals.a, rivals.twin]] : [])].map(
        (archives, i) => {
          const options = channel.disturbed(`writer ${i}`, weather);
          return { name: `writer ${i}`, work: async () => channel.push(options, archives) };
        },
      );
      const endings = await channel.scheduler.run(writers);
      for (const ending of endings.values()) expect(errorsOf(ending), `seed ${seed}`).toEqual([]);
      await expectComplete(channel, seed, true);
      expect(await channel.lost(), `seed ${seed}`).toEqual([]);
      expect([...(await channel.head()).listing.filenames()].sort(), `seed ${seed}`).toEqual([
        'rival-1.0-0.conda',
        'rival-1.0-0.tar.bz2',
      ]);
    }
  });

  test.each([
    ['fair', FAIR],
    ['rough', ROUGH],
  ])('in %s weather of twins the `.conda` stays, where the schema holds one of them', async (_, weather) => {
    for (const seed of seeds) {
      const channel = new SharedChannel(seed, schemaV1);
      const writers = [rivals.a, rivals.twin].map((archive, i) => {
        const options = channel.disturbed(`writer ${i}`, weather);
        return { name: `writer ${i}`, work: async () => channel.push(options, [archive]) };
      });
      expectKnown(await channel.scheduler.run(writers), seed);
      await expectComplete(channel, seed, true);
      expect(await channel.lost(), `seed ${seed}`).toEqual([]);
      expect([...(await channel.head()).listing.filenames()], `seed ${seed}`).toEqual(['rival-1.0-0.conda']);
    }
  });

  test.each([
    ['fair', FAIR],
    ['rough', ROUGH],
  ])('in %s weather one of two is listed, and its tag leads to it', async (_, weather) => {
    let both = 0;
    for (const seed of seeds) {
      const channel = new SharedChannel(seed);
      const done: { archive: PreparedArchive; step: number }[] = [];
      const writers = [rivals.a, rivals.b].map((archive, i) => {
        const name = `writer ${i}`;
        const options = channel.disturbed(name, weather, seed % 2 === 0 ? 100 : 0);
        const work = async (): Promise<readonly Outcome[]> => {
          const outcomes = await channel.push(options, [archive]);
          if (errorsOf({ value: outcomes, step: 0 }).length === 0)
            done.push({ archive, step: channel.scheduler.step });
          return outcomes;
        };
        return { name, work };
      });
      const endings = await channel.scheduler.run(writers, async () => {
        await channel.log();
      });
      const codes = [...endings.values()].flatMap(errorsOf);
      expect(
        codes.every((code) => code === 'ARCHIVE_EXISTS'),
        `seed ${seed}: ${String(codes)}`,
      ).toBe(true);
      await expectComplete(channel, seed, true);
      expect(await channel.lost(), `seed ${seed}`).toEqual([]);
      const { listing } = await channel.head();
      const listed = listing.get('rival-1.0-0.conda')?.['sha256'];
      const winner = [rivals.a, rivals.b].find(({ layer }) => digestHex(layer.digest) === listed);
      expect(
        done.map(({ archive }) => archive),
        `seed ${seed}`,
      ).toContain(winner);
      const loser = done.find(({ archive }) => archive !== winner);
      if (loser === undefined) continue;
      both += 1;
      // What nobody can prevent without compare-and-swap: the loser was done before the winner's wish was in the log.
      const entries = (await channel.log()).flatMap(({ tag, operation }) =>
        operation.entries.map((entry) => ({ tag, entry })),
      );
      const won = entries.find(({ entry }) => entry.kind === 'add' && entry.record.sha256 === listed);
      expect(channel.loggedAt.get(won?.tag ?? '')).toBeGreaterThanOrEqual(loser.step);
    }
    expect(both, `both of ${SEEDS}`).toBeLessThanOrEqual(SEEDS * 0.02);
  });

  test('whatever replaces, removes and returns, the log decides, and what is listed is there', async () => {
    for (const seed of seeds) {
      const channel = new SharedChannel(seed);
      const { random } = channel.scheduler;
      await channel.push({ ...channel.disturbed('first', FAIR), ...channel.calm }, [rivals.a]);
      const filename = rivals.a.layer.filename;
      const acts = [
        (o: Options) => channel.push(o, [rivals.b], { replace: true }),
        (o: Options) => channel.push(o, [rivals.a], { replace: true }),
        (o: Options) => channel.push(o, [rivals.twin]),
        (o: Options) => channel.push(o, [rivals.a]),
        (o: Options) => channel.yank(o, filename),
        (o: Options) => channel.yank(o, filename, true),
      ];
      const writers = Array.from({ length: 2 + Math.floor(random() * 3) }, (_, i) => {
        const name = `writer ${i}`;
        const act = acts[Math.floor(random() * acts.length)];
        const options = channel.disturbed(name, ROUGH);
        return { name, work: async (): Promise<unknown> => act?.(options) };
      });
      const endings = await channel.scheduler.run(writers);
      expectKnown(endings, seed);
      await expectComplete(channel, seed, true);
      expect(await channel.lost(), `seed ${seed}`).toEqual([]);
    }
  });

  test('what was removed does not come back by a push that began before', async () => {
    for (const seed of seeds) {
      const channel = new SharedChannel(seed);
      await channel.push({ ...channel.disturbed('first', FAIR), ...channel.calm }, [rivals.a]);
      const filename = rivals.a.layer.filename;
      let isYanked = false;
      const yank = channel.disturbed('yank', ROUGH);
      const writers = [
        {
          name: 'yank',
          work: async (): Promise<unknown> => {
            await channel.yank(yank, filename);
            isYanked = true;
            return undefined;
          },
        },
        ...[rivals.a, rivals.b, rivals.a].map((archive, i) => {
          const options = channel.disturbed(`push ${i}`, DEADLY);
          return { name: `push ${i}`, work: async (): Promise<unknown> => channel.push(options, [archive]) };
        }),
      ];
      await channel.scheduler.run(writers);
      expect(isYanked).toBe(true);
      await mergeLog(SUBDIR, await channel.head(), channel.calm);
      const { listing } = await channel.head();
      expect(listing.has(filename), `seed ${seed}`).toBe(false);
      expect([...listing.removed], `seed ${seed}`).toEqual([filename]);
    }
  });

  test('a replacement that is killed leaves what is listed there, and is healed when it runs again', async () => {
    for (const seed of seeds) {
      const channel = new SharedChannel(seed);
      const { a, b, twin } = rivals;
      const { filename } = a.layer;
      const archives = seed % 2 === 0 ? [a] : [a, twin];
      await channel.push({ ...channel.disturbed('first', FAIR), ...channel.calm }, archives);
      const options = channel.disturbed('replace', { ...DEADLY, killed: 0.05 });
      const work = async (): Promise<unknown> => channel.push(options, [b], { replace: true });
      await channel.scheduler.run([{ name: 'replace', work }], async () => {
        expect(await channel.lost(), `seed ${seed}`).toEqual([]);
      });
      const again = { ...channel.disturbed('again', FAIR), ...channel.calm };
      expect(
        (await channel.push(again, [b], { replace: true })).map((outcome) => 'error' in outcome),
      ).toEqual([false]);
      expect(await channel.lost(), `seed ${seed}`).toEqual([]);
      const { listing } = await channel.head();
      expect(listing.get(filename)?.['sha256']).toBe(digestHex(b.layer.digest));
      expect(listing.recordCount).toBe(archives.length);
    }
  });
});

type Options = ReturnType<SharedChannel['disturbed']>;

/** Codes of what failed for a writer, as a whole or for an archive. */
function errorsOf(ending: Ending<readonly Outcome[]>): string[] {
  if (ending === 'killed') return ['KILLED'];
  const errors =
    'error' in ending
      ? [ending.error]
      : ending.value.flatMap((outcome) => ('error' in outcome ? [outcome.error] : []));
  return errors.map((error) => (isFerryError(error) ? error.code : String(error)));
}

function expectKnown(endings: ReadonlyMap<string, Ending<unknown>>, seed: number): void {
  for (const ending of endings.values())
    if (ending !== 'killed' && 'error' in ending && !isFerryError(ending.error))
      throw new Error(`seed ${seed}`, { cause: ending.error });
}

async function expectReported(
  channel: SharedChannel,
  reported: ReadonlySet<string>,
  seed: number,
): Promise<void> {
  const logged = new Set(
    (await channel.log()).flatMap(({ operation }) => operation.entries.map(({ filename }) => filename)),
  );
  for (const filename of reported) expect(logged, `seed ${seed}`).toContain(filename);
}

/** Whatever order it came in, all that is logged is in, once everybody is done; or else after one further push. */
async function expectComplete(channel: SharedChannel, seed: number, atOnce: boolean): Promise<void> {
  const log = await channel.log();
  if (!atOnce) await mergeLog(SUBDIR, await channel.head(), channel.calm);
  const head = await channel.head();
  const shuffled = log.toSorted((a, b) => (a.tag.slice(-12) < b.tag.slice(-12) ? -1 : 1));
  const pure = mergeOperations({ listing: Listing.empty(SUBDIR), mark: NOTHING_MERGED }, shuffled);
  expect(Buffer.from(head.listing.write()).toString(), `seed ${seed}`).toBe(
    Buffer.from(pure.listing.write()).toString(),
  );
  expect(head.mark, `seed ${seed}`).toEqual(pure.mark);
}
