import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { WeakValues } from '#ferry/io/weak-values.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

test('what is in use is kept, and names of what is not are forgotten', async () => {
  const values = new WeakValues<{ readonly name: string }>();
  const used = { name: 'used' };
  values.set('used', used);
  for (let index = 0; index < 1000; index += 1) values.set(`name-${index}`, { name: `${index}` });
  for (let round = 0; round < 200 && values.size > 1; round += 1) {
    collectGarbage();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(values.size).toBe(1);
  expect(values.get('used')).toBe(used);
  expect(values.get('name-1')).toBeUndefined();
  expect(values.values()).toEqual([used]);
});
