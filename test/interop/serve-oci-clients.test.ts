/**
 * rattler through `oci://`: straight to a registry, and to the gateway, which answers as one for a folder of layouts and for that
 * registry. The clients insist on https and forget ports.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FIXTURE_CHANNEL, HAS_REAL_CHANNELS, realChannel } from '../support/channels.js';
import { inNamespace, whyNoNamespace, type Step } from '../support/clients/port-443.js';
import { clientPython, type ClientPython } from '../support/clients/python.js';
import {
  INSTALLER,
  RATTLER_RELEASES,
  rattlerInstalls,
  type RattlerJob,
  type RattlerOutcome,
} from '../support/clients/rattler-installer.js';
import {
  TOOLS_CHOSEN,
  TOOLS_FILES,
  TOOLS_SPECS,
  writeToolsChannel,
} from '../support/clients/tools-channel.js';
import { ROOT } from '../support/ferry.js';
import { runFerry } from '../support/ferry-here.js';
import type { SeenByGateway } from '../support/gateway.js';
import { makeServerCertificate, type ServerCertificate } from '../support/registries/certificates.js';
import { IN_MEMORY } from '../support/registries/distribution.js';
import { serveChannel } from '../support/channel-server.js';
import { tempFolder } from '../support/temp.js';

const MAIN = join(ROOT, 'dist', 'cli', 'main.js');
const PLATFORMS = ['linux-64', 'noarch'] as const;
const [today, middle] = RATTLER_RELEASES;
const RECORDER = join(ROOT, 'test', 'support', 'clients', 'tls-recorder.mjs');
const reason = whyNoNamespace();

/** Channels by the path that they get in a registry, and what is installed of each. */
const JOBS: Readonly<Record<string, readonly string[]>> = {
  tools: TOOLS_SPECS,
  ferry: ['_ferry_mutex', 'ferry-lib', 'ferry-local', 'ferry-links', 'ferry.dotted_name'],
  ...(HAS_REAL_CHANNELS ? { recipes: ['dependent', 'small-executable'] } : {}),
};

describe.skipIf(reason !== undefined)(
  `rattler through oci://${reason === undefined ? '' : ` (${reason})`}`,
  () => {
    let folder: string;
    let python: ClientPython;
    let certificate: ServerCertificate;
    let sources: Readonly<Record<string, string>>;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'ferry-oci-'));
      python = await clientPython(join(folder, 'python'), [today]);
      certificate = await makeServerCertificate(folder);
      sources = {
        tools: join(folder, 'tools'),
        ferry: FIXTURE_CHANNEL,
        ...(HAS_REAL_CHANNELS ? { recipes: realChannel('test-recipes') } : {}),
      };
      await writeToolsChannel(join(folder, 'tools'));
      await writeFile(join(folder, 'installer.py'), INSTALLER);
    });
    afterAll(async () => rm(folder, { recursive: true, force: true }));

    /** What a client installs from the folders that the channels were mirrored from. */
    const fromSource = async (name: string): Promise<RattlerOutcome> => {
      await using server = await serveChannel(sources[name]!);
      return await rattlerInstalls(python, { channels: [server.url], specs: JOBS[name]!, sharded: false });
    };

    const ferry = (...args: string[]): Step => ({ run: [process.execPath, MAIN, ...args] });

    const installs = async (
      { path }: ClientPython = python,
      names: readonly string[] = Object.keys(JOBS),
      sharded = true,
    ): Promise<readonly Step[]> => {
      const TMPDIR = await tempFolder();
      const env = { SSL_CERT_FILE: certificate.caFile, TMPDIR };
      return names.map((name): Step => {
        const job: RattlerJob = { channels: [`oci://localhost/${name}`], specs: JOBS[name]!, sharded };
        return { run: [path, join(folder, 'installer.py'), JSON.stringify(job)], env };
      });
    };

    const registry = async (http: object): Promise<readonly string[]> => {
      const config = join(await tempFolder(), 'registry.yml');
      const document = { version: '0.1', log: { level: 'error' }, storage: IN_MEMORY, http };
      // JSON is YAML.
      await writeFile(config, JSON.stringify(document));
      return ['docker-registry', 'serve', config];
    };

    const gateway = (channels: readonly string[], log: string): Step => {
      const tls = ['--tls-cert', certificate.certificateFile, '--tls-key', certificate.keyFile];
      const cache = ['--cache-dir', `${log}-cache`];
      const listen = ['--listen', '127.0.0.1:443', ...tls, ...cache];
      const start = [process.execPath, MAIN, 'serve', ...channels, ...listen];
      return { start, port: 443, log };
    };

    /** Mirrors the channels into layouts. @returns what the gateway is told of them */
    const layouts = async (root: string): Promise<readonly string[]> => {
      const channels: string[] = [];
      for (const [name, source] of Object.entries(sources)) {
        const location = `oci-layout:${join(root, name)}`;
        expect(await runFerry(['mirror', source, location, '--quiet'])).toMatchObject({
          code: 0,
          stderr: '',
        });
        channels.push(`${name}=${location}`);
      }
      return channels;
    };

    const expectSameAsSource = async (
      outputs: readonly string[],
      names: readonly string[] = Object.keys(JOBS),
    ): Promise<void> => {
      const outcomes = outputs.slice(-names.length);
      for (const [index, name] of names.entries()) {
        const [here, there] = [JSON.parse(outcomes[index]!) as RattlerOutcome, await fromSource(name)];
        expect(here.chosen.length).toBeGreaterThan(0);
        expect(here.chosen.map(({ filename, sha256 }) => [filename, sha256])).toEqual(
          there.chosen.map(({ filename, sha256 }) => [filename, sha256]),
        );
        expect(here.files).toEqual(there.files);
        expect(here.meta).toEqual(there.meta);
        for (const { url } of here.chosen) expect(url).toMatch(new RegExp(`^oci://localhost/${name}/`));
      }
      const tools = JSON.parse(outcomes[0]!) as RattlerOutcome;
      expect(tools.chosen.map(({ filename }) => filename)).toEqual(TOOLS_CHOSEN);
      expect(tools.files).toEqual(TOOLS_FILES);
    };

    /** The base, tags of metadata, and each blob once: today's rattler goes by digest, and asks for no shards. */
    const expectSensible = (requests: readonly SeenByGateway[]): void => {
      const lines = requests.map(({ method, path, status }) => `${method} ${path} ${status}`);
      const blobs = lines.filter((line) => /^GET .*\/blobs\/sha256:/.test(line));
      expect(new Set(blobs).size).toBe(blobs.length);
      for (const line of blobs) expect(line).toMatch(/ 200$/);
      const others = lines.filter((line) => !blobs.includes(line) && !/^HEAD .*\/blobs\/\S+ 200$/.test(line));
      const known = Object.keys(JOBS).flatMap((name) =>
        PLATFORMS.map((subdir) => {
          const isThere = name !== 'recipes' || subdir === 'noarch';
          return `GET /v2/${name}/${subdir}/repodata.json/manifests/latest ${isThere ? 200 : 404}`;
        }),
      );
      expect([...new Set(others)].sort()).toEqual(['GET /v2/ 200', ...known].sort());
    };

    test('a registry', async () => {
      const tls = { certificate: certificate.certificateFile, key: certificate.keyFile };
      const start = await registry({ addr: '127.0.0.1:443', secret: 'test', tls });
      const flags = ['--ca-file', certificate.caFile, '--no-plain-http', '--quiet'];
      const outputs = await inNamespace(
        [
          { start, port: 443, log: '/dev/null' },
          ...Object.entries(sources).map(([name, source]) =>
            ferry('mirror', source, `oci://localhost:443/${name}`, ...flags),
          ),
          ...(await installs()),
        ],
        folder,
      );
      await expectSameAsSource(outputs);
    });

    test('the gateway over layouts', async () => {
      const root = await tempFolder();
      const log = join(root, 'log');
      const channels: string[] = [];
      for (const [name, source] of Object.entries(sources)) {
        const location = `oci-layout:${join(root, name)}`;
        expect(await runFerry(['mirror', source, location, '--quiet'])).toMatchObject({
          code: 0,
          stderr: '',
        });
        channels.push(`${name}=${location}`);
      }
      await expectSameAsSource(await inNamespace([gateway(channels, log), ...(await installs())], folder));
    });

    // It takes an answer 404 for a manifest and fails, so it has to be told of no shards, and of no subdir that is not there.
    test('the gateway over layouts, for a rattler that insists on a token', async () => {
      const root = await tempFolder();
      const before = await clientPython(join(root, 'python'), [middle]);
      const names = ['tools', 'ferry'];
      const steps = [
        gateway(await layouts(root), join(root, 'log')),
        ...(await installs(before, names, false)),
      ];
      await expectSameAsSource(await inNamespace(steps, folder), names);
    });

    test('the gateway over layouts, behind a proxy that counts', async () => {
      const root = await tempFolder();
      const log = join(root, 'requests');
      const channels = await layouts(root);
      const { certificateFile, keyFile } = certificate;
      const proxy = [process.execPath, RECORDER, certificateFile, keyFile, '443', '8000'];
      const serve = ['serve', ...channels, '--listen', '127.0.0.1:8000', '--cache-dir', join(root, 'cache')];
      const outputs = await inNamespace(
        [
          { start: [process.execPath, MAIN, ...serve], port: 8000, log: '/dev/null' },
          { start: proxy, port: 443, log },
          ...(await installs()),
        ],
        folder,
      );
      await expectSameAsSource(outputs);
      const lines = (await readFile(log, 'utf8')).trimEnd().split('\n');
      expectSensible(lines.map((line) => JSON.parse(line) as SeenByGateway));
    });

    test('the gateway over a registry', async () => {
      const log = join(await tempFolder(), 'log');
      const start = await registry({ addr: '127.0.0.1:5000', secret: 'test' });
      const placeOf = (name: string): string => `oci://127.0.0.1:5000/some/${name}`;
      const outputs = await inNamespace(
        [
          { start, port: 5000, log: '/dev/null' },
          ...Object.entries(sources).map(([name, source]) =>
            ferry('mirror', source, placeOf(name), '--quiet'),
          ),
          gateway(
            Object.keys(sources).map((name) => `${name}=${placeOf(name)}`),
            log,
          ),
          ...(await installs()),
        ],
        folder,
      );
      await expectSameAsSource(outputs);
    });
  },
);
