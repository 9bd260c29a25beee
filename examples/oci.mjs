/**
 * `node examples/oci.mjs HOST/REPOSITORY FILE`: pushes a file as an artifact, attaches a referrer to it, lists and pulls
 * both, and deletes them again. Credentials come from where docker and podman keep them.
 */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename } from 'node:path';
import { argv, env, stdout } from 'node:process';
import {
  authFilePaths,
  createCredentialFinder,
  deleteTags,
  describe,
  encodeJson,
  isFerryError,
  openRegistry,
  openerOf,
  parseReference,
} from 'conda-ferry/oci';

const EMPTY = Buffer.from('{}');
const IMAGE_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

const [target = '', file = ''] = argv.slice(2);
const { registry: host, repository: name } = parseReference(target);
const registry = openRegistry(host, {
  userAgent: 'oci-example/1.0',
  findCredential: createCredentialFinder({
    authFiles: authFilePaths(env, homedir()),
    helperEnvironment: env,
  }),
});

try {
  const repository = registry.repository(name);

  // Push a file: its bytes as a layer, the empty config, and a manifest that names both.
  const layer = describe('text/plain', await readFile(file), {
    'org.opencontainers.image.title': basename(file),
  });
  const config = describe('application/vnd.oci.empty.v1+json', EMPTY);
  await repository.push(layer, ({ offset = 0 } = {}) => createReadStream(file, { start: offset }));
  await repository.push(config, openerOf(EMPTY));
  const artifact = await pushManifest(
    { artifactType: 'application/vnd.example.file', config, layers: [layer] },
    ['v1'],
  );
  print('pushed', artifact.digest);

  // Attach a referrer: an artifact of its own that names the first one as its subject.
  const note = Buffer.from('looks good\n');
  const noteLayer = describe('text/plain', note);
  await repository.push(noteLayer, openerOf(note));
  const referrer = await pushManifest({
    artifactType: 'application/vnd.example.note',
    config,
    layers: [noteLayer],
    subject: artifact,
  });
  print('attached', referrer.digest);

  // List tags and referrers.
  for await (const tag of repository.tags()) print('tag', tag);
  for await (const found of repository.referrers(artifact))
    print('referrer', found.digest, found.artifactType);

  // Pull: what arrives is checked against its digest while it streams.
  let size = 0;
  for await (const chunk of repository.fetch(layer)) size += chunk.byteLength;
  print('pulled', size, 'bytes');

  // Delete, where the registry lets us; what another tag needs would stay.
  try {
    await repository.delete(referrer);
    const { deleted } = await deleteTags(repository, ['v1']);
    print('deleted', deleted.length + 1, 'manifests');
  } catch (error) {
    if (!isFerryError(error, 'UNSUPPORTED')) throw error;
    print('kept', error.message);
  }

  /**
   * Pushes a manifest, under tags or by its digest alone.
   * @param {object} fields
   * @param {readonly string[]} [tags]
   */
  async function pushManifest(fields, tags = []) {
    const bytes = encodeJson({ schemaVersion: 2, mediaType: IMAGE_MANIFEST, ...fields });
    const manifest = describe(IMAGE_MANIFEST, bytes);
    await repository.push(manifest, openerOf(bytes), { tags });
    return manifest;
  }
} finally {
  await registry[Symbol.asyncDispose]();
}

/** @param {readonly unknown[]} words */
function print(...words) {
  stdout.write(`${words.join(' ')}\n`);
}
