import type { Command } from 'commander';
import { z } from 'zod';
import { identifyArtifact, type ArtifactIdentity } from '../../artifact/identify-artifact.js';
import { TITLE } from '../../artifact/manifest-parts.js';
import { INFO_INDEX } from '../../artifact/media-types.js';
import { FerryError } from '../../errors.js';
import { collect } from '../../io/bytes.js';
import type { Descriptor } from '../../oci/descriptor.js';
import {
  ownMediaType,
  parseImageIndex,
  parseImageManifest,
  type ImageIndex,
  type ImageManifest,
} from '../../oci/manifest.js';
import { DOCKER_MANIFEST_LIST, IMAGE_INDEX } from '../../oci/media-types.js';
import { parseRepositoryName } from '../../oci/reference.js';
import type { Repository, StoredManifest } from '../../oci/storage.js';
import type { CommandContext } from '../context.js';
import { formatStore, parseArtifactLocation } from '../locations.js';
import { count, formatBytes, printJson, printLine, type Output, type OutputFlags } from '../output.js';
import { addConnectionOptions, type LocationFlags } from '../options.js';
import { Session } from '../session.js';

const MAX_INDEX_BYTES = 4 * 1024 * 1024;

/** Adds `inspect`. */
export function addInspectCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('inspect')
    .summary('show what an artifact is made of')
    .description(
      'Shows the parts of one artifact: media types, sizes, digests, and what its package says of itself.',
    )
    .argument(
      '<reference>',
      'oci://host/channel/noarch/name:version-build, or oci-layout:./dir/noarch/name:version-build',
    )
    .option('--json', 'print manifest and index.json as JSON')
    .addHelpText(
      'after',
      `
The tag is the artifact's own, as list --wide shows it; @sha256:… in place of it
or behind it names a manifest by its digest.

Examples:
  conda-ferry inspect oci-layout:./mirror/noarch/ferry-tool:2.1.0-py_0 --json
  conda-ferry inspect oci://localhost:5000/ch/noarch/ferry-tool:2.1.0-py_0`,
    )
    .action(async (text: string, flags: LocationFlags & Pick<OutputFlags, 'json'>) => {
      await using session = new Session(context, flags);
      const { store, repository: name, reference, tag } = await parseArtifactLocation(text);
      const repository = session.openRegistry(store, 'only').repository(parseRepositoryName(name));
      const stored = await repository.fetchManifest(reference, { signal: context.signal });
      if (stored === undefined)
        throw new FerryError('NOT_FOUND', `there is no artifact \`${text}\``, {
          hint: 'list --wide shows the tags of a channel',
        });
      const where = `${formatStore(store)}/${repository.name}`;
      const place = `${where}${reference === tag ? ':' : '@'}${reference}`;
      const { descriptor } = stored;
      if (isIndex(stored)) {
        const manifest = parseImageIndex(stored.bytes);
        if (flags.json === true) printJson(context.output, { reference: place, descriptor, manifest });
        else printIndex(context.output, place, stored, manifest, where);
        return;
      }
      const manifest = parseImageManifest(stored.bytes);
      const identity = identifyArtifact(manifest, repository.name.split('/').at(-1) ?? '', tag);
      const document = { reference: place, descriptor, ...identity, manifest };
      if (flags.json !== true) printManifest(context.output, place, stored, manifest, identity);
      let index: Readonly<Record<string, unknown>> | undefined;
      try {
        index = await readIndexJson(manifest, repository, context.signal);
      } catch (error) {
        // What is known is not kept back because of what is missing.
        if (flags.json === true) printJson(context.output, document);
        throw error;
      }
      if (flags.json === true) printJson(context.output, { ...document, index });
      else if (index !== undefined) printIndexJson(context.output, index);
    });
  addConnectionOptions(command);
}

function isIndex({ bytes, descriptor }: StoredManifest): boolean {
  const mediaType = ownMediaType(bytes) ?? descriptor.mediaType;
  return mediaType === IMAGE_INDEX || mediaType === DOCKER_MANIFEST_LIST;
}

/** As it stands there, whatever is wrong with it: whoever looks wants to see it. */
async function readIndexJson(
  manifest: ImageManifest,
  repository: Repository,
  signal: AbortSignal,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const layer = manifest.layers.find(({ mediaType }) => mediaType === INFO_INDEX);
  if (layer === undefined) return undefined;
  const bytes = await collect(repository.fetch(layer, { signal }), MAX_INDEX_BYTES, `\`${layer.digest}\``);
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch (cause) {
    throw new FerryError('ARCHIVE_INDEX_INVALID', `\`${layer.digest}\` is no \`index.json\``, { cause });
  }
}

function printHead(
  output: Output,
  place: string,
  { descriptor }: StoredManifest,
  { artifactType, subject }: Pick<ImageManifest, 'artifactType' | 'subject'>,
): void {
  printLine(output, place);
  printLine(output, `digest  ${descriptor.digest}`);
  printLine(output, `type    ${descriptor.mediaType}, ${formatBytes(descriptor.size)}`);
  if (artifactType !== undefined) printLine(output, `kind    ${artifactType}`);
  if (subject !== undefined) printLine(output, `subject ${subject.digest}`);
}

function printManifest(
  output: Output,
  place: string,
  stored: StoredManifest,
  manifest: ImageManifest,
  identity: ArtifactIdentity,
): void {
  printHead(output, place, stored, manifest);
  const { config, layers, annotations } = manifest;
  printLine(output, `config  ${config.mediaType}, ${formatBytes(config.size)}`);
  printLine(output, `        ${config.digest}`);
  printLine(output, `schema  ${identity.schema ?? 'none: nothing of conda is in it'}`);
  if (identity.package !== undefined) {
    const { name, version, build } = identity.package;
    printLine(output, `package ${name} ${version} ${build}`);
  }
  if (identity.file !== undefined) printLine(output, `holds   ${identity.file}`);
  printAnnotations(output, annotations);
  printLine(output, 'layers');
  for (const layer of layers) printPart(output, layer.annotations?.[TITLE] ?? '(no title)', layer);
}

function printIndex(
  output: Output,
  place: string,
  stored: StoredManifest,
  index: ImageIndex,
  where: string,
): void {
  printHead(output, place, stored, index);
  printLine(output, 'schema  none: an index of other manifests');
  printAnnotations(output, index.annotations);
  printLine(output, count(index.manifests.length, 'manifest'));
  for (const manifest of index.manifests) {
    const { artifactType } = manifest;
    printPart(output, platformOf(manifest) ?? artifactType ?? '(no platform)', manifest);
  }
  const [first] = index.manifests;
  if (first === undefined) return;
  printLine(output);
  printLine(output, `to see one: conda-ferry inspect ${where}@DIGEST`);
}

/** @see image-spec v1.1, "Image Index", `platform` */
function platformOf(descriptor: object): string | undefined {
  const platform: unknown = 'platform' in descriptor ? descriptor.platform : undefined;
  if (typeof platform !== 'object' || platform === null) return undefined;
  const parts = ['os', 'architecture', 'variant'].map((key): unknown => Reflect.get(platform, key));
  return parts.filter((part) => typeof part === 'string' && part !== '').join('/') || undefined;
}

function printPart(output: Output, title: string, descriptor: Descriptor): void {
  printLine(output, `  ${title}`);
  printLine(output, `    ${descriptor.mediaType}, ${formatBytes(descriptor.size)}`);
  printLine(output, `    ${descriptor.digest}`);
  for (const [key, value] of Object.entries(descriptor.annotations ?? {})) {
    if (key !== TITLE) printLine(output, `    ${key}: ${value}`);
  }
}

function printAnnotations(output: Output, annotations: Readonly<Record<string, string>> = {}): void {
  const entries = Object.entries(annotations);
  if (entries.length === 0) return;
  printLine(output, 'annotations');
  for (const [key, value] of entries) printLine(output, `  ${key}: ${value}`);
}

/** One line for each value, and one for each member of a list: dependencies are many. */
function printIndexJson(output: Output, index: Readonly<Record<string, unknown>>): void {
  printLine(output, 'index.json');
  for (const [key, value] of Object.entries(index)) {
    if (!Array.isArray(value) || value.length === 0) {
      printLine(output, `  ${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`);
      continue;
    }
    printLine(output, `  ${key}:`);
    for (const member of value as unknown[]) {
      printLine(output, `    ${typeof member === 'string' ? member : JSON.stringify(member)}`);
    }
  }
}
