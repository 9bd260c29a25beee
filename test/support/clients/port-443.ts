import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { testEnvironment } from '../ferry.js';

const run = promisify(execFile);

/** A program that is started and left running, with what tells that it is up. */
export interface Background {
  readonly start: readonly string[];
  readonly port: number;
  /** What it prints goes there. */
  readonly log: string;
}

/** A program that is run to its end. */
export interface Foreground {
  readonly run: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** What to do in turn. */
export type Step = Background | Foreground;

/** Why nothing can be run where port 443 is free; `undefined` where it can. */
export function whyNoNamespace(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces are only on Linux';
  const { status } = spawnSync(UNSHARE, [...NAMESPACE, 'ip', 'link', 'set', 'lo', 'up']);
  return status === 0 ? undefined : 'this machine makes no network namespaces (unshare, ip)';
}

const UNSHARE = 'unshare';
const NAMESPACE = ['--user', '--map-root-user', '--net'] as const;

/**
 * Takes steps in a network namespace of their own, where port 443 is free and nothing but loopback can be reached: some clients
 * always speak https and forget the port of a registry.
 * @returns what the programs that were run to their end printed
 */
export async function inNamespace(steps: readonly Step[], home: string): Promise<readonly string[]> {
  const script = ['set -e', 'ip link set lo up', `trap 'kill $(jobs -p) 2>/dev/null' EXIT`];
  for (const step of steps) {
    if ('start' in step) {
      script.push(
        `${quoted(step.start)} >${quoted([step.log])} 2>&1 &`,
        'server=$!',
        `for i in $(seq 300); do (echo >/dev/tcp/127.0.0.1/${step.port}) 2>/dev/null && break; kill -0 $server; sleep 0.1; done`,
      );
    } else {
      const variables = Object.entries(step.env ?? {}).map(([name, value]) => `${name}=${value}`);
      script.push(`env ${quoted([...variables, ...step.run])}; printf '\\0'`);
    }
  }
  const { stdout } = await run(UNSHARE, [...NAMESPACE, 'bash', '-c', script.join('\n')], {
    env: testEnvironment(home),
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout.split('\0').slice(0, -1);
}

function quoted(args: readonly string[]): string {
  return args.map((arg) => `'${arg.replaceAll("'", `'\\''`)}'`).join(' ');
}
