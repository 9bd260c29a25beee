import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Answered } from '#ferry/serve/listen/listen-reporter.js';
import { createMetrics } from '#ferry/serve/metrics.js';
import { register } from 'prom-client';
import { expect, test } from 'vitest';

const EVENT: Answered = {
  id: 'a-1',
  remote: '127.0.0.1',
  method: 'GET',
  target: '/a',
  userAgent: '',
  status: 200,
  bytes: 10,
  ms: 3,
  route: 'archive',
  cache: 'hit',
  isWhole: true,
};

test('requests are counted by route, method and status, with bytes and time', async () => {
  const metrics = createMetrics();
  for (let time = 0; time < 3; time += 1) metrics.answered(EVENT);
  metrics.answered({ ...EVENT, method: 'HEAD', status: 404, bytes: 0 });
  expect(await metrics.text()).toContain(
    'conda_ferry_requests_total{route="archive",method="GET",status="200"} 3',
  );
  metrics.answered({ ...EVENT, ms: 20_000 });
  const text = await metrics.text();
  for (const line of [
    'conda_ferry_requests_total{route="archive",method="GET",status="200"} 4',
    'conda_ferry_requests_total{route="archive",method="HEAD",status="404"} 1',
    'conda_ferry_sent_bytes_total{route="archive"} 40',
    'conda_ferry_request_seconds_bucket{le="0.005",route="archive"} 4',
    'conda_ferry_request_seconds_count{route="archive"} 5',
  ]) {
    expect(text).toContain(line);
  }
});

test('no client can add labels', async () => {
  const metrics = createMetrics();
  for (let index = 0; index < 100; index += 1) {
    metrics.answered({ ...EVENT, method: `M${String(index)}`, target: `/${String(index)}`, route: 'other' });
  }
  const text = await metrics.text();
  expect(text).toContain('conda_ferry_requests_total{route="other",method="other",status="200"} 100');
  expect(text.match(/^conda_ferry_requests_total\{/gm)).toHaveLength(1);
});

test('what nobody tells is asked for, each time', async () => {
  const metrics = createMetrics();
  let connections = 1;
  let subdirs = ['noarch', 'linux-64'];
  metrics.observe({ connections: () => connections });
  metrics.observe({
    cache: () => ({ hits: 5, misses: 2, evictions: 1, entries: 3, bytes: 99 }),
    generations: () =>
      subdirs.map((subdir) => ({
        channel: 'main',
        subdir,
        modified: new Date(Date.now() - 60_000),
        staleSince: subdir === 'noarch' ? new Date(Date.now() - 30_000) : undefined,
      })),
  });
  const text = await metrics.text();
  expect(text).toContain('conda_ferry_connections 1');
  expect(text).toContain('conda_ferry_cache_hits_total 5');
  expect(text).toContain('conda_ferry_cache_misses_total 2');
  expect(text).toContain('conda_ferry_cache_evictions_total 1');
  expect(text).toContain('conda_ferry_cache_bytes 99');
  expect(text).toMatch(/conda_ferry_generation_age_seconds\{channel="main",subdir="noarch"\} 60/);
  expect(text).toMatch(/conda_ferry_generation_stale_seconds\{channel="main",subdir="noarch"\} 30/);
  expect(text).toMatch(/conda_ferry_generation_stale_seconds\{channel="main",subdir="linux-64"\} 0/);
  connections = 2;
  subdirs = ['noarch'];
  const later = await metrics.text();
  expect(later).toContain('conda_ferry_connections 2');
  expect(later).toContain('conda_ferry_cache_hits_total 5');
  expect(later).not.toContain('linux-64');
});

test('failures and upstream requests are counted, and the process tells of itself', async () => {
  const metrics = createMetrics();
  metrics.failed();
  metrics.dropped();
  metrics.upstream();
  metrics.upstream();
  metrics.upstreamFailed('NETWORK');
  const response = await metrics.response();
  const text = await response.text();
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  for (const line of [
    'conda_ferry_failures_total 1',
    'conda_ferry_dropped_connections_total 1',
    'conda_ferry_upstream_requests_total 2',
    'conda_ferry_upstream_errors_total{code="NETWORK"} 1',
  ]) {
    expect(text).toContain(line);
  }
  expect(text).toContain('process_resident_memory_bytes ');
});

test('two of them do not know of each other, nor does anybody else', async () => {
  const first = createMetrics();
  const second = createMetrics();
  first.answered(EVENT);
  expect(await second.text()).not.toContain('conda_ferry_requests_total{');
  expect(await register.metrics()).not.toContain('conda_ferry');
});

test('they keep no process alive', async () => {
  const script = `import { createMetrics } from '#ferry/serve/metrics.js'; await createMetrics().text(); console.log('end')`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    timeout: 20_000,
  });
  expect(stdout).toBe('end\n');
});
