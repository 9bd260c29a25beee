import { forEachConcurrently } from '../io/pool.js';
import { settledOf, type ExecutorContext, type ExecutorWork } from './executor.js';
import type { PlanItem } from './plan.js';
import { transferItem } from './transfer.js';

/** Carries items in this process, so many at once as the context says. */
export async function carryHere(work: ExecutorWork, context: ExecutorContext): Promise<void> {
  const { plan, isSuspect, stop, signal } = work;
  const underWay = new Set<PlanItem>();
  function* untilStopped(): Generator<PlanItem> {
    for (const item of plan.items()) {
      if (stop?.aborted === true) return;
      yield item;
    }
  }
  try {
    await forEachConcurrently(untilStopped(), { concurrency: context.concurrency, signal }, async (item) => {
      underWay.add(item);
      const outcomes = await transferItem(item, { ...context, signal, isSuspect });
      underWay.delete(item);
      await work.settled(item, outcomes.map(settledOf));
    });
  } finally {
    if (signal.aborted) for (const item of underWay) work.abandoned(item);
  }
}
