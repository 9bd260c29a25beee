import { InvalidArgumentError, Option, type Command } from 'commander';
import type { CommandContext } from '../context.js';
import { parseShortDuration } from '../duration.js';
import { parseListen } from '../listen-address.js';
import { addConnectionOptions, parseCount, parseTempLimit } from '../options.js';
import type { ServeFlags } from '../serve-channels.js';

const DEFAULT_LISTEN = '127.0.0.1:8000';
const DEFAULT_CACHE_SIZE = '10GiB';
const DEFAULT_REFRESH = '30s';
const DEFAULT_GRACE = '30s';

/** Adds `serve`. */
export function addServeCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('serve')
    .summary('serve channels to conda clients, from a registry or anywhere')
    .description(
      'Serves channels of any kind over HTTP, so that every conda client can install from them: conda, mamba, pixi and what speaks oci://. What was served is kept in a cache.',
    )
    .argument(
      '[channel...]',
      'any channel: oci://host/path, oci-layout:./dir, URL, ./folder, channel name; as NAME=CHANNEL to serve it under another name',
    )
    .option('--upstream <channel>', 'channel to serve out of --store, and from there what that lacks')
    .option('--store <location>', 'where to keep what was served of --upstream: oci://… or oci-layout:…')
    .addOption(
      new Option('--listen <host:port>', 'address to listen on; port 0 takes a free one')
        .argParser(parseListen)
        .default(parseListen(DEFAULT_LISTEN), DEFAULT_LISTEN),
    )
    .option('--public-url <url>', 'where clients reach it, for the commands on its pages', parsePublicUrl)
    .option('--schema <id>', 'layout of channels in registries: v0 or v1', 'v0')
    .addOption(
      new Option('--refresh <time>', 'how long metadata counts as fresh, such as 30s or 5m')
        .argParser(parseShortDuration)
        .default(parseShortDuration(DEFAULT_REFRESH), DEFAULT_REFRESH),
    )
    .option('--redirect', 'send clients to the storage of the registry wherever it tells')
    .option('--proxy', 'never send clients elsewhere')
    .option('--cache-dir <dir>', 'folder of the cache, an OCI image layout (default: below ~/.cache)')
    .addOption(
      new Option('--cache-size <size>', 'bytes that the cache may take')
        .argParser(parseTempLimit)
        .default(parseTempLimit(DEFAULT_CACHE_SIZE), DEFAULT_CACHE_SIZE),
    )
    .option('--temp-dir <dir>', 'folder for temporary files, where metadata lies')
    .option('--tls-cert <file>', 'certificate with its chain, to speak https')
    .option('--tls-key <file>', 'key of the certificate')
    .option('--user-file <file>', 'let in only these: a line name:password for each')
    .option('--token-file <file>', 'let in only these: a line with a token for each')
    .option('--access-log <file>', 'append a line of JSON for each request; - for stderr')
    .option('--max-connections <n>', 'connections at once (default: 10000)', parseCount)
    .addOption(
      new Option('--grace <time>', 'how long answers under way may take when it is stopped')
        .argParser(parseShortDuration)
        .default(parseShortDuration(DEFAULT_GRACE), DEFAULT_GRACE),
    )
    .option('--quiet', 'say nothing on stderr but errors')
    .option('--verbose', 'say what fails behind the answers, too')
    .addHelpText(
      'after',
      `
SIGINT or SIGTERM stops it in order; exit status 0 then.

Examples:
  conda-ferry serve oci://ghcr.io/org/conda-forge
  conda-ferry serve --upstream conda-forge --store oci://127.0.0.1:5000/mirror
  conda-ferry serve oci-layout:./mirror tools=./channel --listen 127.0.0.1:8080
  conda install -c http://127.0.0.1:8000/conda-forge zlib`,
    )
    .action(async (channels: readonly string[], flags: ServeFlags) => {
      // Loaded on use: no other command has anything to do with servers.
      const { serveChannels } = await import('../serve-channels.js');
      await serveChannels(channels, flags, context);
    });
  addConnectionOptions(command);
}

function parsePublicUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '')
    throw new InvalidArgumentError('a URL such as https://conda.example.org is wanted.');
  return url.href.replace(/\/+$/, '');
}
