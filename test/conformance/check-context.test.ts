import { describe, expect, test } from 'vitest';
import { CheckContext } from '#ferry/conformance/check-context.js';
import { CheckLog } from '#ferry/conformance/check-log.js';
import { Expander } from '#ferry/conformance/expander.js';
import { FerryError } from '#ferry/errors.js';
import { TempFolder } from '#ferry/io/temp-folder.js';

async function withContext(
  work: (context: CheckContext) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  await using expander = new Expander();
  await using temp = await TempFolder.create();
  const now = (): Date => new Date(0);
  await work(
    new CheckContext(new CheckLog(), {
      expander,
      temp,
      concurrency: 1,
      index: false,
      deep: false,
      now,
      signal,
    }),
  );
}

function failing(error: Error): () => Promise<void> {
  return () => Promise.reject(error);
}

describe('looking at one place', () => {
  test('what the network does to it is taken down with what lies behind it, and stops nothing else', async () => {
    await withContext(async (context) => {
      const cause = new FerryError('NETWORK', 'nobody listens there');
      await context.look('noarch/a:1', failing(new FerryError('REGISTRY_REFUSED', 'it failed', { cause })));
      await context.look('noarch/b:1', () => Promise.resolve());
      expect(context.unchecked).toEqual([
        { where: 'noarch/a:1', code: 'REGISTRY_REFUSED', message: 'it failed: nobody listens there' },
      ]);
    });
  });

  test('the hundredth place that cannot be looked at ends the check', async () => {
    await withContext(async (context) => {
      const error = new FerryError('NETWORK', 'nobody listens there');
      for (let i = 1; i < 100; i++) await context.look(`place ${String(i)}`, failing(error));
      await expect(context.look('place 100', failing(error))).rejects.toBe(error);
    });
  });

  test('places that cannot be looked at from here end nothing, however many', async () => {
    await withContext(async (context) => {
      const error = new FerryError('UNSUPPORTED', 'it lies elsewhere');
      for (let i = 1; i <= 200; i++) await context.look(`place ${String(i)}`, failing(error));
      expect(context.unchecked).toHaveLength(200);
    });
  });

  test.each([
    new FerryError('DISK_FULL', 'the disk is full'),
    new FerryError('INTERNAL', 'this is a bug'),
    new TypeError('so is this'),
  ])('what is no fault of the place is thrown: %s', async (error) => {
    await withContext(async (context) => {
      await expect(context.look('here', failing(error))).rejects.toBe(error);
      expect(context.unchecked).toEqual([]);
    });
  });

  test('once aborted, the reason is thrown', async () => {
    const reason = new Error('enough');
    await withContext(async (context) => {
      await expect(context.look('here', failing(new FerryError('NETWORK', 'cut off')))).rejects.toBe(reason);
    }, AbortSignal.abort(reason));
  });
});
