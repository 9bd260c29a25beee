import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ROOT, testEnvironment } from './ferry.js';

/** A step of `action.yml`. */
interface Step {
  readonly id?: string;
  readonly if?: string;
  readonly uses?: string;
  readonly with?: Readonly<Record<string, string>>;
  readonly name?: string;
  readonly shell?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly run?: string;
}

/** `action.yml`, as the runner reads it. */
export interface Action {
  readonly inputs: Readonly<
    Record<string, { readonly description: string; readonly default?: string; readonly required?: boolean }>
  >;
  readonly outputs: Readonly<Record<string, { readonly value: string }>>;
  readonly runs: { readonly using: string; readonly steps: readonly Step[] };
}

export const ACTION_TEXT = readFileSync(join(ROOT, 'action.yml'), 'utf8');
export const ACTION = parse(ACTION_TEXT) as Action;

/** How the step that runs conda-ferry ended. */
export interface StepResult {
  readonly code: number | null;
  readonly log: string;
  readonly outputs: Readonly<Record<string, string>>;
  readonly summary: string;
}

/** A job's folders, in one whose name has a space. */
export interface Job {
  readonly workspace: string;
  readonly temp: string;
  /** Runs a step as the runner does: inputs get into its environment, and its text into a file that bash reads. */
  run(step: string, inputs: Readonly<Record<string, string>>): Promise<StepResult>;
}

/**
 * Makes a job in a folder. `program` is what `conda-ferry` is on its PATH: a script for `sh`.
 * @param environment added to that of all steps
 */
export async function openJob(
  folder: string,
  program: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<Job> {
  const [workspace, temp, bin] = ['work space', 'runner temp', 'bin'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [workspace, temp, bin]) await mkdir(path);
  await writeFile(join(bin, 'conda-ferry'), `#!/bin/sh\n${program}\n`);
  await chmod(join(bin, 'conda-ferry'), 0o755);
  let count = 0;
  const run: Job['run'] = async (name, inputs) => {
    const step = ACTION.runs.steps.find((one) => one.name === name);
    if (step?.run === undefined) throw new Error(`there is no step ${name}`);
    count += 1;
    const files = Object.fromEntries(
      ['GITHUB_OUTPUT', 'GITHUB_STEP_SUMMARY', 'GITHUB_PATH'].map((file) => [
        file,
        join(temp, `${file}-${count}`),
      ]),
    );
    for (const file of Object.values(files)) await writeFile(file, '');
    const script = join(temp, `step-${count}.sh`);
    await writeFile(script, step.run);
    const base = testEnvironment(folder);
    const { status, stdout, stderr, error } = spawnSync(
      'bash',
      ['--noprofile', '--norc', '-eo', 'pipefail', script],
      {
        cwd: workspace,
        encoding: 'utf8',
        env: {
          ...base,
          PATH: `${bin}:${base['PATH'] ?? ''}`,
          RUNNER_TEMP: temp,
          GITHUB_ACTION_PATH: ROOT,
          ...files,
          ...environment,
          ...evaluate(step.env ?? {}, inputs),
        },
      },
    );
    if (error !== undefined) throw error;
    const lines = (await readFile(files['GITHUB_OUTPUT'] ?? '', 'utf8')).split('\n').slice(0, -1);
    return {
      code: status,
      log: `${stdout}${stderr}`,
      outputs: Object.fromEntries(
        lines.map((line) => [line.replace(/=.*/, ''), line.replace(/^[^=]*=/, '')]),
      ),
      summary: await readFile(files['GITHUB_STEP_SUMMARY'] ?? '', 'utf8'),
    };
  };
  return { workspace, temp, run };
}

/** Puts inputs where the steps name them; nothing else may stand there. */
function evaluate(
  variables: Readonly<Record<string, string>>,
  inputs: Readonly<Record<string, string>>,
): Record<string, string> {
  for (const name of Object.keys(inputs))
    if (!(name in ACTION.inputs)) throw new Error(`${name} is no input`);
  return Object.fromEntries(
    Object.entries(variables).map(([variable, value]) => {
      const [, name = ''] = /^\$\{\{ inputs\.([a-z-]+) \}\}$/.exec(value) ?? [];
      const fallback = ACTION.inputs[name]?.default ?? '';
      return [variable, inputs[name] ?? (fallback === '${{ github.token }}' ? 'token-of-the-job' : fallback)];
    }),
  );
}
