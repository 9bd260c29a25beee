import { escapeMarkup } from '../../io/escape-markup.js';
import type { FerryError } from '../../errors.js';
import type { ServedChannel } from '../channels/served-channel.js';
import { readChannelState, type ChannelState } from './channel-state.js';
import { settings } from './commands.js';
import { expectFerryError, staleness } from './notices.js';
import {
  channelHref,
  channelTitle,
  code,
  link,
  moment,
  number,
  table,
  type Page,
  type PageRequest,
} from './page.js';

const COLUMNS = [
  { head: 'Channel' },
  { head: 'Subdirs', look: 'wide' },
  { head: 'Packages', look: 'number' },
  { head: 'Archives', look: 'number' },
  { head: 'Last changed', look: 'wide' },
  { head: 'State', look: 'wide state' },
] as const;

/** A channel as the list of channels has it. */
interface ListedChannel {
  readonly channel: ServedChannel;
  readonly state: ChannelState | undefined;
  readonly error?: FerryError;
}

/** The page of all channels. It is there whatever becomes of each of them. */
export async function homePage(request: PageRequest, channels: readonly ServedChannel[]): Promise<Page> {
  const listed = await Promise.all(channels.map((channel) => look(channel, request.signal)));
  const rows = listed.map((entry) => row(request, entry));
  return {
    title: 'Channels',
    trail: [],
    main: [
      '<h1>Channels</h1>',
      ...(rows.length === 0
        ? ['<p>No channel is served here.</p>']
        : [
            ...table('The conda channels that this server gives', COLUMNS, rows),
            '<h2>Use them</h2>',
            ...settings(request, channels),
          ]),
    ],
  };
}

async function look(channel: ServedChannel, signal: AbortSignal | undefined): Promise<ListedChannel> {
  try {
    return { channel, state: await readChannelState(channel, signal) };
  } catch (error) {
    return { channel, state: undefined, error: expectFerryError(error) };
  }
}

function row(request: PageRequest, { channel, state, error }: ListedChannel): readonly string[] {
  const subdirs = state?.subdirs ?? [];
  const ready = subdirs.filter((subdir) => subdir.kind === 'ready');
  const archives = ready.reduce((sum, { shards }) => sum + shards.recordCount, 0);
  const changed = subdirs.map(({ generation }) => generation?.modified.getTime() ?? -Infinity);
  const isKnown = ready.length > 0;
  return [
    `${link(channelHref(request, channel), escapeMarkup(channelTitle(channel)))} <span class="from">${code(channel.location)}</span>`,
    subdirs
      .map(({ subdir }, index) => {
        const comma = index < subdirs.length - 1 ? ',' : '';
        return `<span class="nowrap">${escapeMarkup(subdir)}${comma}</span>`;
      })
      .join(' '),
    isKnown ? number(state?.names.size ?? 0) : '',
    isKnown ? number(archives) : '',
    moment(Math.max(...changed, -Infinity)),
    stateOf(state, error),
  ];
}

function stateOf(state: ChannelState | undefined, error: FerryError | undefined): string {
  if (error !== undefined) return `cannot be read: ${code(error.code)}`;
  const subdirs = state?.subdirs ?? [];
  const failed = subdirs.find((subdir) => subdir.kind === 'failed');
  if (failed !== undefined) return `${code(failed.subdir)} cannot be read: ${code(failed.error.code)}`;
  if (state === undefined || subdirs.some(({ kind }) => kind === 'waiting')) return 'being read';
  const stale = subdirs.map(({ generation }) => generation?.staleness).find((found) => found !== undefined);
  return stale === undefined ? 'up to date' : staleness(stale);
}
