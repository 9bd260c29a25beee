import type { Command } from 'commander';
import { packageMediaType } from '../../artifact/media-types.js';
import type { ChannelStore } from '../../artifact/channel-store.js';
import { OciChannel } from '../../artifact/oci-channel.js';
import type { RepodataRecord } from '../../conda/package-record.js';
import { isFerryError } from '../../errors.js';
import { sha256Digest, type Digest } from '../../io/digest.js';
import { readChannelRecords } from '../../mirror/read-channel.js';
import type { CommandContext } from '../context.js';
import { formatStore, parseLocation } from '../locations.js';
import { count, formatBytes, formatTable, printJson, printLine, type OutputFlags } from '../output.js';
import { addConnectionOptions, type LocationFlags } from '../options.js';
import { Session } from '../session.js';

interface ListFlags extends LocationFlags, Pick<OutputFlags, 'json'> {
  readonly subdir?: readonly string[];
  readonly wide?: boolean;
}

/** One archive as a channel lists it, with where its artifact is to be found in a store. */
interface ListedArchive {
  readonly filename: string;
  readonly mediaType: string;
  /** In bytes. */
  readonly size: number | undefined;
  readonly digest: Digest | undefined;
  readonly repository?: string;
  readonly tag?: string;
  /** For `inspect`. */
  readonly reference?: string;
}

/** Adds `list`. */
export function addListCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('list')
    .summary('show what a channel holds')
    .description('Shows the archives that a channel lists, with media types, sizes and digests.')
    .argument('<channel>', 'any channel: oci://host/path, oci-layout:./dir, URL, ./folder, channel name')
    .option('--subdir <name...>', 'only these subdirs')
    .option('--schema <id>', 'layout of the channel in the registry: v0 or v1', 'v0')
    .option('--label <label>', 'label of the channel in the registry, such as dev')
    .option('--wide', 'full media types and digests, and where each artifact stands')
    .option('--json', 'print the list as JSON')
    .addHelpText(
      'after',
      `
Media types are shown without application/vnd.conda. in front: package.v2 is a
.conda, package.v1 a .tar.bz2.

Examples:
  conda-ferry list oci-layout:./mirror
  conda-ferry list oci://127.0.0.1:5000/my-channel --subdir noarch --json`,
    )
    .action(async (text: string, flags: ListFlags) => {
      await using session = new Session(context, flags);
      const location = parseLocation(text);
      const channel = session.openChannel(location, 'only');
      const store = channel instanceof OciChannel ? channel.store : undefined;
      const place =
        location.kind === 'registry' || location.kind === 'layout' ? formatStore(location) : undefined;
      const subdirs: { subdir: string; archives: ListedArchive[] }[] = [];
      const options = { subdirs: flags.subdir, workers: session.workers, signal: context.signal };
      for await (const { subdir, records } of readChannelRecords(channel, options)) {
        subdirs.push({
          subdir,
          archives: Array.from(records, (record) => listedArchive(record, store, place)),
        });
      }
      const schema = store?.schema.id;
      if (flags.json === true) {
        const where = store === undefined ? channel.url : [place, store.path].filter(Boolean).join('/');
        printJson(context.output, { channel: where, schema, subdirs });
        return;
      }
      const { output } = context;
      for (const { subdir, archives } of subdirs) {
        const bytes = archives.reduce((total, { size }) => total + (size ?? 0), 0);
        const head = [`${subdir}: ${count(archives.length, 'archive')}`, formatBytes(bytes)];
        printLine(output, [...head, ...(schema === undefined ? [] : [`schema ${schema}`])].join(', '));
        if (flags.wide === true) {
          for (const archive of archives) for (const line of wideLines(archive)) printLine(output, line);
        } else {
          for (const line of formatTable(archives.map(shortRow), [2])) printLine(output, line);
        }
      }
    });
  addConnectionOptions(command);
}

function listedArchive(
  record: RepodataRecord,
  store: ChannelStore | undefined,
  place: string | undefined,
): ListedArchive {
  const { filename, extension, size, sha256 } = record;
  const archive = {
    filename,
    mediaType: packageMediaType(extension),
    size,
    digest: sha256 === undefined ? undefined : sha256Digest(sha256),
  };
  if (store === undefined || place === undefined) return archive;
  try {
    const { repository: leaf, tag } = store.schema.placeOf(record);
    const repository = store.repositoryName(record.listedIn, leaf);
    return { ...archive, repository, tag, reference: `${place}/${repository}:${tag}` };
  } catch (error) {
    // Listed by another tool, and nowhere to be found.
    if (isFerryError(error, 'NAME_UNREPRESENTABLE')) return archive;
    throw error;
  }
}

function shortRow({ filename, mediaType, size, digest }: ListedArchive): string[] {
  return [
    `  ${filename}`,
    mediaType.replace('application/vnd.conda.', ''),
    size === undefined ? '?' : formatBytes(size),
    digest?.slice(0, 'sha256:'.length + 12) ?? '',
  ];
}

function wideLines({ filename, mediaType, size, digest, reference }: ListedArchive): string[] {
  const details = [`${mediaType}, ${size === undefined ? '?' : formatBytes(size)}`, digest, reference];
  return [`  ${filename}`, ...details.filter((line) => line !== undefined).map((line) => `    ${line}`)];
}
