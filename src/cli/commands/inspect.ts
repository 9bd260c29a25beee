import type { Command } from 'commander';
import { INFO_INDEX } from '../../artifact/media-types.js';
import { FerryError } from '../../errors.js';
import { collect } from '../../io/bytes.js';
import { parseImageManifest } from '../../oci/manifest.js';
import { parseRepositoryName } from '../../oci/reference.js';
import type { CommandContext } from '../context.js';
import { parseArtifactLocation } from '../locations.js';
import { formatBytes, printJson, printLine, type OutputFlags } from '../output.js';
import { addConnectionOptions, type LocationFlags } from '../options.js';
import { Session } from '../session.js';

const MAX_INDEX_BYTES = 4 * 1024 * 1024;
const TITLE = 'org.opencontainers.image.title';

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
Examples:
  conda-ferry inspect oci-layout:./mirror/noarch/ferry-tool:2.1.0-py_0 --json
  conda-ferry inspect oci://localhost:5000/ch/noarch/ferry-tool:2.1.0-py_0`,
    )
    .action(async (text: string, flags: LocationFlags & Pick<OutputFlags, 'json'>) => {
      await using session = new Session(context, flags);
      const { store, repository: name, reference } = await parseArtifactLocation(text);
      const registry = session.openRegistry(store, 'only');
      const repository = registry.repository(parseRepositoryName(name));
      const stored = await repository.fetchManifest(reference, { signal: context.signal });
      if (stored === undefined) throw new FerryError('NOT_FOUND', `there is no artifact \`${text}\``);
      const manifest = parseImageManifest(stored.bytes);
      const indexLayer = manifest.layers.find(({ mediaType }) => mediaType === INFO_INDEX);
      const index =
        indexLayer === undefined
          ? undefined
          : (JSON.parse(
              Buffer.from(
                await collect(repository.fetch(indexLayer), MAX_INDEX_BYTES, 'index layer'),
              ).toString('utf8'),
            ) as Record<string, unknown>);
      if (flags.json === true) {
        printJson(context.output, { reference: text, descriptor: stored.descriptor, manifest, index });
        return;
      }
      const { output } = context;
      printLine(output, `${registry.location}/${name}:${reference}`);
      printLine(output, `digest  ${stored.descriptor.digest}`);
      printLine(output, `config  ${manifest.config.mediaType}`);
      printLine(output, 'layers');
      for (const layer of manifest.layers) {
        printLine(output, `  ${layer.annotations?.[TITLE] ?? '(no title)'}`);
        printLine(output, `    ${layer.mediaType}, ${formatBytes(layer.size)}`);
        printLine(output, `    ${layer.digest}`);
      }
      if (index === undefined) return;
      printLine(output, 'index.json');
      for (const [key, value] of Object.entries(index))
        printLine(output, `  ${key}: ${JSON.stringify(value)}`);
    });
  addConnectionOptions(command);
}
