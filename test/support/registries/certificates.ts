import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Key and certificate as PEM files. */
export interface KeyPair {
  readonly keyFile: string;
  readonly certificateFile: string;
}

/** A server's certificate with the authority that vouches for it. */
export interface ServerCertificate extends KeyPair {
  /** What a client must be told to trust. */
  readonly caFile: string;
}

// Our own configuration: what the system's adds differs from one to the next.
const CONFIG = `[req]
distinguished_name = name
prompt = no
[name]
CN = conda-ferry test
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign, digitalSignature
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1, DNS:localhost
`;

/** Makes an RSA key with a certificate that it signed itself, by openssl. */
export async function makeSelfSigned(folder: string, name: string): Promise<KeyPair> {
  const pair = { keyFile: join(folder, `${name}.key`), certificateFile: join(folder, `${name}.crt`) };
  const config = join(folder, 'openssl.cnf');
  await writeFile(config, CONFIG);
  const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', pair.keyFile];
  const certificate = ['-x509', '-days', '2', '-extensions', 'authority', '-out', pair.certificateFile];
  await run('openssl', [
    'req',
    '-config',
    config,
    '-subj',
    `/CN=conda-ferry ${name}`,
    ...key,
    ...certificate,
  ]);
  return pair;
}

/** Makes an authority, and a certificate of its for `127.0.0.1` and `localhost`, by openssl. */
export async function makeServerCertificate(folder: string): Promise<ServerCertificate> {
  const authority = await makeSelfSigned(folder, 'ca');
  const [keyFile, certificateFile] = [join(folder, 'server.key'), join(folder, 'server.crt')];
  const [config, request] = [join(folder, 'openssl.cnf'), join(folder, 'server.csr')];
  const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', keyFile];
  await run('openssl', ['req', '-config', config, '-new', ...key, '-out', request]);
  const signer = ['-CA', authority.certificateFile, '-CAkey', authority.keyFile, '-CAcreateserial'];
  const extensions = ['-extfile', config, '-extensions', 'server', '-days', '2'];
  await run('openssl', ['x509', '-req', '-in', request, ...signer, ...extensions, '-out', certificateFile]);
  return { keyFile, certificateFile, caFile: authority.certificateFile };
}
