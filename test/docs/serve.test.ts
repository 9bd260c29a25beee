import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createProgram } from '#ferry/cli/program.js';
import { RESERVED_NAMES } from '#ferry/serve/gateway.js';
import { DEFAULT_LISTEN_LIMITS } from '#ferry/serve/listen/limits.js';
import { createMetrics } from '#ferry/serve/metrics.js';
import { ROOT } from '../support/ferry.js';

const read = (file: string): string => readFileSync(join(ROOT, 'docs', file), 'utf8');
const guide = read('serve.md');

test('the guide has every metric of ours, and none that there is not', async () => {
  const names = [...(await createMetrics().text()).matchAll(/^# TYPE (conda_ferry_\w+)/gm)].map(
    ([, name]) => name,
  );
  const told = [...guide.matchAll(/`(conda_ferry_\w+)/g)].map(([, name]) => name);
  expect([...new Set(told)].sort()).toEqual([...names].sort());
});

test('the guide, or that of pull-through, has every flag that only this command has', () => {
  const program = createProgram({ output: process } as unknown as Parameters<typeof createProgram>[0]);
  const command = program.commands.find((candidate) => candidate.name() === 'serve');
  const flags =
    command?.options.filter(({ helpGroupHeading = 'Options:' }) => helpGroupHeading === 'Options:') ?? [];
  expect(flags.length).toBeGreaterThan(15);
  const text = guide + read('pull-through.md');
  // What every command has.
  const common = ['--quiet'];
  for (const { long } of flags) if (!common.includes(long ?? '')) expect(text, long ?? '').toContain(long);
});

test('the guide has the names that no channel can have, and the limits as they are', () => {
  for (const name of RESERVED_NAMES) expect(guide).toContain(`\`${name}\``);
  const rows = guide.slice(guide.indexOf('**Limits.**'), guide.indexOf('**Stopping.**'));
  const limits = DEFAULT_LISTEN_LIMITS;
  const counts = [limits.maxConnections, limits.maxRequestsPerConnection, limits.maxTargetLength];
  for (const count of counts) expect(rows).toContain(count.toLocaleString('en-US'));
  expect(rows).toContain(`; ${String(limits.maxPipelined)} `);
  expect(rows).toContain(`${String(limits.maxHeaderBytes / 1024)} KiB`);
  const times = [
    limits.headersTimeoutMs,
    limits.handshakeTimeoutMs,
    limits.keepAliveTimeoutMs,
    limits.stallTimeoutMs,
  ];
  for (const ms of times) expect(rows).toContain(` ${String(ms / 1000)} s`);
});
