import type { CheckLog } from '../check-log.js';
import { asJsonObject, pointTo, quote } from './json-value.js';

/** What {@link checkChannelRelations} looks at. */
export interface ChannelRelationsSubject {
  /** `info` of the repodata, or of a shard index. */
  readonly info: unknown;
  /** The place of `info`, such as `noarch/repodata.json#/info`. */
  readonly where: string;
  /** Base URL of the channel, without the subdir, where it has one. */
  readonly channelUrl?: string | undefined;
}

/** Checks how the channels that `channel_relations` names go together. That they are well-formed says the schema. */
export function checkChannelRelations(
  { info, where, channelUrl }: ChannelRelationsSubject,
  log: CheckLog,
): void {
  const { base, overrides } = asJsonObject(asJsonObject(info)['channel_relations']);
  const place = pointTo(where, 'channel_relations');
  if (isReference(base) && isReference(overrides)) {
    log.expect('cep42/distinct', normalize(base) !== normalize(overrides), () => ({
      where: place,
      found: `\`base\` and \`overrides\` both lead to ${quote(normalize(base))}`,
      expected: 'two different channels, or only one of them',
    }));
  }
  if (channelUrl === undefined || !URL.canParse(channelUrl)) return;
  const here = withSlash(channelUrl);
  for (const [key, reference] of Object.entries({ base, overrides })) {
    if (!isReference(reference)) continue;
    const target = withSlash(new URL(withSlash(reference), here).href);
    log.expect('cep42/not-itself', target !== new URL(here).href, () => ({
      where: pointTo(place, key),
      found: `${quote(reference)}, which leads back to this channel`,
      expected: 'another channel',
    }));
  }
}

function isReference(value: unknown): value is string {
  return typeof value === 'string' && value.startsWith('../');
}

function withSlash(url: string): string {
  return url.endsWith('/') ? url : `${url}/`;
}

/** Writes equal references equally: `../a/../b/` as `../b`. */
function normalize(reference: string): string {
  const steps: string[] = [];
  for (const step of reference.split('/')) {
    if (step === '' || step === '.') continue;
    if (step === '..' && steps.length > 0 && steps.at(-1) !== '..') steps.pop();
    else steps.push(step);
  }
  return steps.join('/');
}
