import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A key with its certificate, in PEM. */
export interface KeyPair {
  readonly key: string;
  readonly cert: string;
}

/** An authority and what it signed. Files hold the same as the texts. */
export interface TestCertificates {
  /** The authority's certificate, in PEM. */
  readonly ca: string;
  /** For 127.0.0.1, 127.0.0.2 and localhost. */
  readonly server: KeyPair;
  /** Common name `ferry-client`. */
  readonly client: KeyPair;
  /** For the same names, signed by nobody. */
  readonly selfSigned: KeyPair;
  /** Holds `ca.crt`, `server.crt`, `server.key`, `client.crt` and `client.key`; goes away with the process. */
  readonly folder: string;
}

let made: Promise<TestCertificates> | undefined;

/** Certificates for tests, made by openssl once for each process. */
export async function testCertificates(): Promise<TestCertificates> {
  made ??= makeCertificates();
  return made;
}

const NAMES = 'subjectAltName=IP:127.0.0.1,IP:127.0.0.2,DNS:localhost';

async function makeCertificates(): Promise<TestCertificates> {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-certificates-'));
  process.once('exit', () => {
    rmSync(folder, { recursive: true, force: true });
  });
  const openssl = async (...args: readonly string[]): Promise<void> => {
    await run('openssl', args, { cwd: folder });
  };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const selfSign = async (name: string, ...more: readonly string[]): Promise<void> =>
    openssl(
      ...['req', '-x509', ...newKey, '-days', '2', '-subj', `/CN=ferry-${name}`],
      ...['-keyout', `${name}.key`, '-out', `${name}.crt`, ...more],
    );
  const sign = async (name: string, extensions: string): Promise<void> => {
    await writeFile(join(folder, `${name}.ext`), extensions);
    const request = ['-keyout', `${name}.key`, '-out', `${name}.csr`];
    await openssl('req', ...newKey, '-subj', `/CN=ferry-${name}`, ...request);
    await openssl(
      ...['x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'],
      ...['-days', '2', '-extfile', `${name}.ext`, '-out', `${name}.crt`],
    );
  };
  await selfSign('ca');
  await selfSign('selfsigned', '-addext', NAMES);
  await sign('server', `${NAMES}\nextendedKeyUsage=serverAuth\n`);
  await sign('client', 'extendedKeyUsage=clientAuth\n');
  const read = async (file: string): Promise<string> => readFile(join(folder, file), 'utf8');
  const pair = async (name: string): Promise<KeyPair> => ({
    key: await read(`${name}.key`),
    cert: await read(`${name}.crt`),
  });
  return {
    ca: await read('ca.crt'),
    server: await pair('server'),
    client: await pair('client'),
    selfSigned: await pair('selfsigned'),
    folder,
  };
}
