import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openerOf } from '#ferry/io/bytes.js';
import { describe as describeBytes } from '#ferry/oci/descriptor.js';
import { encodeJson } from '#ferry/oci/manifest.js';
import { IMAGE_INDEX } from '#ferry/oci/media-types.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { useRegistryDouble } from '../support/double/registry-double.js';
import { runFerry } from '../support/ferry-here.js';
import { tempFolder } from '../support/temp.js';

interface Inspected {
  readonly reference: string;
  readonly descriptor: { readonly digest: string; readonly size: number; readonly mediaType: string };
  readonly manifest: { readonly layers: readonly { readonly digest: string; readonly mediaType: string }[] };
}

const TOOL = { v0: 'noarch/ferry-tool:2.1.0-py_0', v1: 'noarch/cferry-tool:2.1.0-py__0' };

/** A folder with the fixture channel's noarch, by both schemas. */
async function mirrors(): Promise<string> {
  const cwd = await tempFolder();
  for (const schema of ['v0', 'v1']) {
    const args = ['mirror', FIXTURE_CHANNEL, `oci-layout:./${schema}`, '--subdir', 'noarch', '--quiet'];
    expect((await runFerry([...args, '--schema', schema], { cwd })).code).toBe(0);
  }
  return cwd;
}

async function inspectJson(reference: string, cwd: string): Promise<Inspected> {
  const { code, stdout } = await runFerry(['inspect', reference, '--json'], { cwd });
  expect(code).toBe(0);
  return JSON.parse(stdout) as Inspected;
}

test('inspect shows what a package artifact is made of, by either schema, in 80 columns', async () => {
  const cwd = await mirrors();
  const v0 = await runFerry(['inspect', `oci-layout:./v0/${TOOL.v0}`], { cwd });
  expect(v0).toMatchObject({ code: 0, stderr: '' });
  expect(v0.stdout.replaceAll(cwd, '')).toMatchInlineSnapshot(`
    "oci-layout:/v0/noarch/ferry-tool:2.1.0-py_0
    digest  sha256:e883063c29860730a0dd940ce023c895a23346926361807c292b8e7d8d85b639
    type    application/vnd.oci.image.manifest.v1+json, 1.3 kB
    config  application/vnd.unknown.config.v1+json, 2 B
            sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
    schema  v0
    package ferry-tool 2.1.0 py_0
    layers
      ferry-tool-2.1.0-py_0.conda
        application/vnd.conda.package.v2, 1.3 kB
        sha256:c42a26c224d138cb027c39ccbb641697c189de76032c1cc5154965f8408bef66
        org.conda.md5: a75e88415963021f4e0ee8fe9187a78b
      ferry-tool-2.1.0-py_0.tar.bz2
        application/vnd.conda.package.v1, 885 B
        sha256:0a102176e1630df29efe0be5aa69dd7b13b0345c83602c3d5cd5f32d34b5697d
        org.conda.md5: a1bf05cb0f68172d5c1fb46fb03c68af
      ferry-tool-2.1.0-py_0/info.tar.gz
        application/vnd.conda.info.v1.tar+gzip, 785 B
        sha256:f26b5c97691f01c4876822e98d25122a5228d6dcd5f3b69b2d5ac0c0d836c159
      ferry-tool-2.1.0-py_0/info/index.json
        application/vnd.conda.info.index.v1+json, 332 B
        sha256:05ae5b5308488e3b99cb16ac807333ca5596f038ffd98b656d1aab351cf38a1a
    index.json
      arch: null
      build: py_0
      build_number: 0
      constrains:
        ferry-lib >=1!2.0
      depends:
        python >=3.9
        ferry-data
      license: BSD-3-Clause
      name: ferry-tool
      noarch: python
      platform: null
      subdir: noarch
      timestamp: 1700000000000
      version: 2.1.0
    "
  `);
  const v1 = await runFerry(['inspect', `oci-layout:./v1/${TOOL.v1}`], { cwd });
  expect(v1.stdout.replaceAll(cwd, '').split('index.json\n  arch')[0]).toMatchInlineSnapshot(`
    "oci-layout:/v1/noarch/cferry-tool:2.1.0-py__0
    digest  sha256:3d93b02938d6dd847d2126078af8f3c81f891e60c0332c893b6f263ea6fabc34
    type    application/vnd.oci.image.manifest.v1+json, 1.2 kB
    kind    application/vnd.conda.package.v2
    config  application/vnd.oci.empty.v1+json, 2 B
            sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
    schema  v1
    package ferry-tool 2.1.0 py_0
    annotations
      org.conda.oci.schema: 1
      org.conda.package.name: ferry-tool
      org.conda.package.version: 2.1.0
      org.conda.package.build: py_0
    layers
      ferry-tool-2.1.0-py_0.conda
        application/vnd.conda.package.v2, 1.3 kB
        sha256:c42a26c224d138cb027c39ccbb641697c189de76032c1cc5154965f8408bef66
        io.conda-ferry.md5: a75e88415963021f4e0ee8fe9187a78b
      ferry-tool-2.1.0-py_0/info.tar.gz
        application/vnd.conda.info.v1.tar+gzip, 785 B
        sha256:f26b5c97691f01c4876822e98d25122a5228d6dcd5f3b69b2d5ac0c0d836c159
      ferry-tool-2.1.0-py_0/info/index.json
        application/vnd.conda.info.index.v1+json, 332 B
        sha256:05ae5b5308488e3b99cb16ac807333ca5596f038ffd98b656d1aab351cf38a1a
    "
  `);
  for (const line of `${v0.stdout}\n${v1.stdout}`.replaceAll(cwd, '').split('\n')) {
    expect(line.length, line).toBeLessThanOrEqual(80);
  }
});

test('inspect shows metadata artifacts', async () => {
  const cwd = await mirrors();
  const repodata = await runFerry(['inspect', 'oci-layout:./v1/noarch/mrepodata.json:latest'], { cwd });
  expect(repodata.stdout.replaceAll(cwd, '')).toMatchInlineSnapshot(`
    "oci-layout:/v1/noarch/mrepodata.json:latest
    digest  sha256:cd2c8b8879159382767ba1f7ae4e57001996f780b0f1b1d00187d83eaf42b32b
    type    application/vnd.oci.image.manifest.v1+json, 774 B
    kind    application/vnd.conda.repodata.v1+json
    config  application/vnd.oci.empty.v1+json, 2 B
            sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
    schema  v1
    holds   repodata.json
    annotations
      org.conda.oci.schema: 1
    layers
      repodata.json
        application/vnd.conda.repodata.v1+json, 1.9 kB
        sha256:c80ee34e3a71dd335621294ad32b345fc7e390604d652f561963f0dab62c6722
      repodata.json.zst
        application/vnd.conda.repodata.v1+json+zst, 695 B
        sha256:aeb26230b77a8c9c0659178b752ac480cbd3697a6ad02d8e6a66c00888728cb2
    "
  `);
  const ledger = await inspectJson('oci-layout:./v0/noarch/repodata_ledger.json:latest', cwd);
  expect(ledger).toMatchObject({ schema: 'v0', file: 'ledger' });
  expect(ledger).not.toHaveProperty('package');
});

test('a registry and a layout, by tag, by digest and by both: one document', async () => {
  const cwd = await mirrors();
  const { host } = await useRegistryDouble();
  const args = ['mirror', FIXTURE_CHANNEL, `oci://${host}/org/ch`, '--subdir', 'noarch', '--quiet'];
  expect((await runFerry([...args, '--schema', 'v1'], { cwd })).code).toBe(0);
  const onDisk = await inspectJson(`oci-layout:./v1/${TOOL.v1}`, cwd);
  expect(onDisk).toMatchObject({
    reference: `oci-layout:${cwd}/v1/${TOOL.v1}`,
    schema: 'v1',
    package: { name: 'ferry-tool', version: '2.1.0', build: 'py_0' },
    index: { name: 'ferry-tool', depends: ['python >=3.9', 'ferry-data'] },
  });
  const { digest } = onDisk.descriptor;
  for (const place of [`oci-layout:${cwd}/v1`, `oci://${host}/org/ch`]) {
    const repository = `${place}/${TOOL.v1.replace(/:.*/, '')}`;
    for (const reference of [`${place}/${TOOL.v1}`, `${repository}@${digest}`]) {
      expect(await inspectJson(reference, cwd)).toEqual({ ...onDisk, reference });
    }
    const both = await inspectJson(`${place}/${TOOL.v1}@${digest}`, cwd);
    expect(both).toEqual({ ...onDisk, reference: `${repository}@${digest}` });
  }
  const v0 = await inspectJson(`oci-layout:./v0/${TOOL.v0}`, cwd);
  const byDigest = await inspectJson(`oci-layout:./v0/noarch/ferry-tool@${v0.descriptor.digest}`, cwd);
  expect(byDigest).toMatchObject({
    schema: 'v0',
    package: { name: 'ferry-tool', version: '2.1.0', build: 'py_0' },
  });
});

test('an index of manifests is listed', async () => {
  const cwd = await mirrors();
  const { descriptor } = await inspectJson(`oci-layout:./v1/${TOOL.v1}`, cwd);
  const bytes = encodeJson({
    schemaVersion: 2,
    mediaType: IMAGE_INDEX,
    manifests: [{ ...descriptor, platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } }],
    annotations: { note: 'both' },
  });
  {
    await using registry = openLayoutRegistry(join(cwd, 'v1'));
    const repository = registry.repository('noarch/cferry-tool');
    await repository.push(describeBytes(IMAGE_INDEX, bytes), openerOf(bytes), { tags: ['index'] });
  }
  const listed = await runFerry(['inspect', 'oci-layout:./v1/noarch/cferry-tool:index'], { cwd });
  expect(listed).toMatchObject({ code: 0, stderr: '' });
  expect(listed.stdout.replaceAll(cwd, '')).toMatchInlineSnapshot(`
    "oci-layout:/v1/noarch/cferry-tool:index
    digest  sha256:cc70926467e1ec2c8a73f39642cebf06d0179f4f456f5203b3e7c835031dced0
    type    application/vnd.oci.image.index.v1+json, 335 B
    schema  none: an index of other manifests
    annotations
      note: both
    1 manifest
      linux/arm64/v8
        application/vnd.oci.image.manifest.v1+json, 1.2 kB
        sha256:3d93b02938d6dd847d2126078af8f3c81f891e60c0332c893b6f263ea6fabc34

    to see one: conda-ferry inspect oci-layout:/v1/noarch/cferry-tool@DIGEST
    "
  `);
  const document = await inspectJson('oci-layout:./v1/noarch/cferry-tool:index', cwd);
  expect(document).toMatchObject({ manifest: { manifests: [{ digest: descriptor.digest }] } });
});

test('what is there is shown, also where the blob with index.json is gone', async () => {
  const cwd = await mirrors();
  const { manifest } = await inspectJson(`oci-layout:./v1/${TOOL.v1}`, cwd);
  const digest = manifest.layers.at(-1)?.digest ?? '';
  await rm(join(cwd, 'v1', 'noarch', 'cferry-tool', 'blobs', digest.replace(':', '/')));
  for (const flags of [[], ['--json']]) {
    const { code, stdout, stderr } = await runFerry(['inspect', `oci-layout:./v1/${TOOL.v1}`, ...flags], {
      cwd,
    });
    expect(code).toBe(3);
    expect(stdout).toContain(digest);
    expect(stderr).toContain('[NOT_FOUND]');
  }
});
