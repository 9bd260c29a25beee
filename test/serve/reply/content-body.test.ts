import { expect, test } from 'vitest';
import { contentResponse } from '#ferry/serve/reply/content-body.js';

test('a body whose bytes cannot be read lets go of them', async () => {
  let disposed = 0;
  const opened = {
    size: 10,
    read: () => Promise.reject(new Error('a broken disk')),
    [Symbol.asyncDispose]: async () => {
      disposed += 1;
      return Promise.resolve();
    },
  };
  const response = contentResponse({ opened, start: 0, end: 10 }, {});
  await expect(response.arrayBuffer()).rejects.toThrow('a broken disk');
  expect(disposed).toBe(1);
});
