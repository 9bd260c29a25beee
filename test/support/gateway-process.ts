import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { ROOT, testEnvironment } from './ferry.js';
import { probe, untilNothing } from './gateway-probe.js';
import { tempFolder } from './temp.js';

const MAIN = join(ROOT, 'dist', 'cli', 'main.js');
/** Collects garbage when it is told to, so that what is left can be measured. */
const ON_SIGNAL = "data:text/javascript,process.on('SIGUSR2',()=>{globalThis.gc();globalThis.gc()})";

/** What a process holds. */
export interface Held {
  readonly residentMib: number;
  /** The most that it ever had. */
  readonly peakMib: number;
  /** Open file descriptors. */
  readonly handles: number;
}

/** The built command, serving. */
export interface GatewayProcess {
  /** Such as `http://127.0.0.1:34567`. */
  readonly url: string;
  readonly pid: number;
  readonly isRunning: boolean;
  /** All that it wrote to stderr. */
  said(): string;
  /** What it holds just now, and after garbage was collected. Linux only. */
  held(): Promise<Held>;
  heldAfterGc(): Promise<Held>;
}

/** Options of {@link startGatewayProcess}. */
export interface GatewayProcessOptions {
  /** Open files that it may have once it has started. Linux only. @defaultValue as many as this process */
  readonly maxHandles?: number;
  readonly nodeFlags?: readonly string[];
  /** @defaultValue a folder of its own */
  readonly cacheDir?: string;
  readonly tempDir?: string;
}

/** Starts the built command on a free port and waits until it answers; it goes away with the test. */
export async function startGatewayProcess(
  args: readonly string[],
  options: GatewayProcessOptions = {},
): Promise<GatewayProcess> {
  const folder = await tempFolder();
  const { cacheDir = join(folder, 'cache'), tempDir = folder, maxHandles, nodeFlags = [] } = options;
  const serve = ['serve', ...args, '--listen', '127.0.0.1:0', '--cache-dir', cacheDir, '--temp-dir', tempDir];
  const command = [process.execPath, '--expose-gc', '--import', ON_SIGNAL, ...nodeFlags, MAIN, ...serve];
  const [node = '', ...flags] = command;
  const child = spawn(node, flags, {
    env: testEnvironment(),
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const heard = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name]
      .setEncoding('utf8')
      .on('data', (text: string) => (heard[name] = (heard[name] + text).slice(-1e6)));
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
    await once(child, 'exit');
    clearTimeout(timer);
  });
  const urlIn = (): string | undefined => /^serving at (\S+)$/m.exec(heard.stdout)?.[1];
  await untilNothing(async () => {
    if (child.exitCode !== null) throw new Error(`it ended: ${heard.stderr}`);
    return Promise.resolve(urlIn() === undefined ? ['it does not say where it serves'] : []);
  }, 40_000);
  const url = urlIn() ?? '';
  const pid = child.pid ?? 0;
  if (maxHandles !== undefined) {
    const limit = `--nofile=${maxHandles}:${maxHandles}`;
    expect(spawnSync('prlimit', [`--pid=${pid}`, limit]).status).toBe(0);
  }
  return {
    url,
    pid,
    get isRunning() {
      return child.exitCode === null && child.signalCode === null;
    },
    said: () => heard.stderr,
    held: () => heldBy(pid),
    heldAfterGc: async () => {
      child.kill('SIGUSR2');
      // Answered only after the signal was.
      await probe(url, '/healthz');
      return heldBy(pid);
    },
  };
}

async function heldBy(pid: number): Promise<Held> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const mib = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024;
  const handles = (await readdir(`/proc/${pid}/fd`)).length;
  return { residentMib: mib('VmRSS'), peakMib: mib('VmHWM'), handles };
}
