import type { Command } from 'commander';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { createProgram } from '#ferry/cli/program.js';
import { ACTION } from '../support/action-runner.js';
import { ROOT } from '../support/ferry.js';

interface Step {
  readonly uses?: string;
  readonly with?: Readonly<Record<string, string>>;
  readonly run?: string;
}

interface Workflow {
  readonly on: Readonly<
    Record<string, { readonly inputs?: Readonly<Record<string, { required?: boolean }>> }>
  >;
  readonly jobs: Readonly<
    Record<
      string,
      {
        readonly uses?: string;
        readonly with?: Readonly<Record<string, string>>;
        readonly steps?: readonly Step[];
      }
    >
  >;
}

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const GITHUB = 'docs/examples/github';
const workflows = readdirSync(join(ROOT, GITHUB)).map((file) => ({
  file,
  workflow: parse(read(`${GITHUB}/${file}`)) as Workflow,
}));
const program = createProgram({ output: process } as unknown as Parameters<typeof createProgram>[0]);
const verbs = new Map(program.commands.map((command) => [command.name(), command]));

function flagsOf(command: Command | undefined): readonly string[] {
  return command?.options.flatMap(({ short, long }) => [short ?? '', long ?? '']) ?? [];
}

describe.each(workflows)('$file', ({ workflow }) => {
  const jobs = Object.values(workflow.jobs);

  test('gives the action inputs that it has, and flags that the verb has', () => {
    const uses = jobs.flatMap(({ steps = [] }) =>
      steps.filter((step) => step.uses?.startsWith('OWNER/conda-ferry@') === true),
    );
    for (const { with: inputs = {} } of uses) {
      expect(Object.keys(ACTION.inputs)).toEqual(expect.arrayContaining(Object.keys(inputs)));
      for (const [name, { required }] of Object.entries(ACTION.inputs))
        if (required === true) expect(inputs).toHaveProperty(name);
      const command = verbs.get(inputs['command'] ?? 'push');
      const args = (inputs['args'] ?? '').split('\n').filter((line) => line.startsWith('-'));
      for (const arg of args) expect(flagsOf(command)).toContain(arg.replace(/=.*/, ''));
    }
  });

  test('calls workflows beside it with inputs that they have', () => {
    for (const { uses, with: inputs = {} } of jobs) {
      if (uses === undefined) continue;
      const called = workflows.find(({ file }) => `./.github/workflows/${file}` === uses)?.workflow;
      const declared = called?.on['workflow_call']?.inputs ?? {};
      expect(Object.keys(declared)).toEqual(expect.arrayContaining(Object.keys(inputs)));
      for (const [name, { required }] of Object.entries(declared))
        if (required === true) expect(inputs).toHaveProperty(name);
      const args = (inputs['args'] ?? '').split('\n').filter((line) => line.startsWith('-'));
      for (const arg of args) expect(flagsOf(verbs.get('mirror'))).toContain(arg.replace(/=.*/, ''));
    }
  });

  test('lets nothing into a script but by the environment', () => {
    for (const { steps = [] } of jobs) for (const { run = '' } of steps) expect(run).not.toContain('${{');
  });
});

/** Calls of conda-ferry in blocks for a shell, each on one line. */
function callsIn(text: string): string[] {
  const blocks = [...text.matchAll(/^```(?:sh|yaml|ini)\n([^]*?)^```$/gm)].map(([, block = '']) => block);
  return blocks
    .flatMap((block) => block.replaceAll(/\\\n\s*/g, '').split('\n'))
    .map((line) => line.replace(/(?:^|\s)# .*/, ''))
    .flatMap((line) =>
      [...line.matchAll(/(?<![\w/@-])conda-ferry (?=[a-z])([^|;]*)/g)].map(([, call = '']) => call),
    );
}

const documents = [
  ...readdirSync(join(ROOT, 'docs'))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
  'README.md',
].map((document) => ({ document, calls: callsIn(read(document)) }));
const gitlab = parse(read('docs/examples/gitlab-ci.yml')) as Record<string, { script?: readonly string[] }>;
documents.push({
  document: 'docs/examples/gitlab-ci.yml',
  calls: Object.values(gitlab).flatMap(({ script = [] }) =>
    script.flatMap((line) => [...line.matchAll(/^conda-ferry ([^|]*)/g)].map(([, call = '']) => call)),
  ),
});
const compose = parse(read('docs/examples/compose.yml')) as {
  readonly services: Readonly<
    Record<string, { readonly command: readonly string[]; readonly healthcheck: { readonly test: string[] } }>
  >;
};
documents.push({
  document: 'docs/examples/compose.yml',
  calls: Object.values(compose.services).map(({ command }) => command.join(' ')),
});
const UNIT = 'docs/examples/conda-ferry-serve.service';
const unit = read(UNIT).replaceAll(/\\\n\s*/g, '');
documents.push({
  document: UNIT,
  calls: [...unit.matchAll(/^ExecStart=\S+\/conda-ferry (.*)$/gm)].map(([, call = '']) => call),
});

test('what ends the service waits longer for it than it grants its clients, twice', () => {
  const stops = [
    /^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1],
    /stop_grace_period: (\d+)s/.exec(read('docs/examples/compose.yml'))?.[1],
  ];
  for (const seconds of stops) expect(Number(seconds)).toBeGreaterThan(2 * 30);
  for (const { calls } of documents.slice(-2)) expect(calls.join()).toMatch(/--grace[= ]30s/);
});

test('the health check of the container asks what there is', async () => {
  const [service] = Object.values(compose.services);
  const [, , flag, script = ''] = service?.healthcheck.test ?? [];
  expect(flag).toBe('--eval');
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.writeHead(asked.length === 1 ? 200 : 503).end();
  }).listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.close();
  });
  await once(server, 'listening');
  const { port } = server.address() as { readonly port: number };
  const here = script.replace(':8000', `:${String(port)}`);
  const codes: (number | null)[] = [];
  for (let round = 0; round < 2; round += 1) {
    const child = spawn(process.execPath, ['--eval', here], { stdio: 'ignore' });
    await once(child, 'exit');
    codes.push(child.exitCode);
  }
  expect({ codes, asked }).toEqual({ codes: [0, 1], asked: ['/healthz', '/healthz'] });
});

describe.each(documents.filter(({ calls }) => calls.length > 0))('$document', ({ calls }) => {
  test('shows flags that there are', () => {
    for (const call of calls) {
      const [verb = '', ...words] = call.trim().split(/\s+/);
      const command = verbs.get(verb);
      const flags = words.filter((word) => /^--?[a-z]/.test(word)).map((word) => word.replace(/=.*/, ''));
      for (const flag of flags) expect(flagsOf(command), call).toContain(flag);
    }
  });

  test('shows verbs that there are', () => {
    for (const call of calls) expect([...verbs.keys(), 'help']).toContain(call.split(' ')[0]);
  });
});
