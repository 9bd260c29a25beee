import { describe, expect, test } from 'vitest';
import { Turns } from '#ferry/io/turns.js';

/** Work that ends when it is told to. */
function gated(log: string[], name: string): { work: () => Promise<string>; open: () => void } {
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const work = async (): Promise<string> => {
    log.push(`${name} begins`);
    await gate;
    log.push(`${name} ends`);
    return name;
  };
  return { work, open };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('Turns', () => {
  test('runs work for one key in turn, and for others side by side', async () => {
    const log: string[] = [];
    const turns = new Turns();
    const [a, b, c] = [gated(log, 'a'), gated(log, 'b'), gated(log, 'c')];
    const running = [turns.run('x', a.work), turns.run('x', b.work), turns.run('y', c.work)];
    b.open();
    await settled();
    expect(log).toEqual(['a begins', 'c begins']);
    a.open();
    c.open();
    expect(await Promise.all(running)).toEqual(['a', 'b', 'c']);
    expect(log.filter((line) => !line.startsWith('c'))).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
  });

  test('goes on after a failure', async () => {
    const turns = new Turns();
    const failing = turns.run('x', () => Promise.reject(new Error('broken')));
    const next = turns.run('x', () => Promise.resolve('fine'));
    await expect(failing).rejects.toThrow('broken');
    expect(await next).toBe('fine');
  });

  test('lets who waits leave early, and nobody jump the queue for it', async () => {
    const log: string[] = [];
    const turns = new Turns();
    const a = gated(log, 'a');
    const first = turns.run('x', a.work);
    const controller = new AbortController();
    const reason = new Error('enough');
    const second = turns.run('x', () => Promise.resolve(log.push('second')), controller.signal);
    const third = turns.run('x', () => Promise.resolve(log.push('third')));
    controller.abort(reason);
    await expect(second).rejects.toBe(reason);
    await settled();
    expect(log).toEqual(['a begins']);
    a.open();
    await Promise.all([first, third]);
    expect(log).toEqual(['a begins', 'a ends', 'third']);
  });

  test('does not begin what is aborted already', async () => {
    const reason = new Error('not today');
    const signal = AbortSignal.abort(reason);
    await expect(new Turns().run('x', () => Promise.resolve(1), signal)).rejects.toBe(reason);
  });
});
