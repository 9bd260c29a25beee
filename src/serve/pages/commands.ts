/** What to type to use a channel, or to install something from it. */
import { FILENAME_PARTS } from '../../conda/names.js';
import type { ServedChannel } from '../channels/served-channel.js';
import { block, channelParts, type PageRequest } from './page.js';

/** What to install: a name, and more to have exactly one archive of it. */
export interface Wanted {
  readonly name: string;
  readonly version?: string | undefined;
  readonly build?: string | undefined;
}

/** Where clients find a channel: `http://127.0.0.1:8000/conda-forge`. */
export function channelUrl({ baseUrl }: Pick<PageRequest, 'baseUrl'>, channel: ServedChannel): string {
  return `${baseUrl}/${channelParts(channel).map(encodeURIComponent).join('/')}`;
}

/**
 * The commands that install something, for each client.
 * @returns nothing for a name that is none: whoever copies a command runs it
 */
export function installCommands(
  request: Pick<PageRequest, 'baseUrl'>,
  channel: ServedChannel,
  wanted: Wanted,
): readonly string[] {
  if (!isPlain(wanted)) return ['<p class="dim">No command is shown, for that is no name of a package.</p>'];
  const { name, version, build } = wanted;
  const url = channelUrl(request, channel);
  const spec = quoted([name, version, build].filter((part) => part !== undefined).join('='));
  const exact = version === undefined ? name : `${name}==${version}${build === undefined ? '' : `=${build}`}`;
  return [
    '<div class="commands">',
    ...command('conda', `conda install -c ${url} ${spec}`),
    ...command('mamba', `mamba install -c ${url} ${spec}`),
    ...command('micromamba', `micromamba install -c ${url} ${spec}`),
    ...command('pixi', `pixi workspace channel add ${url}\npixi add ${quoted(exact)}`),
    '</div>',
  ];
}

/** How to name a channel in the settings of each client, so that commands need not. */
export function settings(
  request: Pick<PageRequest, 'baseUrl'>,
  channels: readonly ServedChannel[],
): readonly string[] {
  const [first] = channels;
  if (first === undefined) return [];
  const url = channelUrl(request, first);
  const urls = channels.map((channel) => channelUrl(request, channel));
  const names = channels.map((channel) => channelParts(channel).join('/'));
  return [
    '<div class="commands">',
    ...command('conda, mamba, micromamba', `conda install -c ${url} PACKAGE`),
    ...command('.condarc', `channels:\n${urls.map((text) => `  - ${text}`).join('\n')}`),
    ...command(
      '.condarc, by names',
      `channel_alias: ${request.baseUrl}\nchannels:\n${names.map((name) => `  - ${name}`).join('\n')}`,
    ),
    ...command('pixi.toml', `[workspace]\nchannels = [\n${urls.map((text) => `  "${text}",`).join('\n')}\n]`),
    '</div>',
  ];
}

function command(title: string, text: string): readonly string[] {
  return ['<div>', `<h3>${title}</h3>`, ...block(text), '</div>'];
}

function isPlain({ name, version, build }: Wanted): boolean {
  return (
    FILENAME_PARTS.name.test(name) &&
    (version === undefined || FILENAME_PARTS.version.test(version)) &&
    (build === undefined || FILENAME_PARTS.build.test(build))
  );
}

/** Shells would take the `!` of an epoch for a word of their history. */
function quoted(text: string): string {
  return text.includes('!') ? `'${text}'` : text;
}
