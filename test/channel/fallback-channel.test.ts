import { expect, test } from 'vitest';
import { FallbackChannel } from '#ferry/channel/fallback-channel.js';
import type { ArchiveLocation, ChannelSource, MetadataAnswer } from '#ferry/conda/channel-source.js';
import { FerryError, type FerryErrorCode } from '#ferry/errors.js';
import { collect, openerOf, type Bytes } from '#ferry/io/bytes.js';

const ARCHIVE: ArchiveLocation = { subdir: 'noarch', filename: 'a-1-0.conda' };

/** A place that answers with its own name, or fails with a code. */
class Place implements ChannelSource {
  readonly url: string;
  readonly asked: string[] = [];
  fault: FerryErrorCode | undefined;

  constructor(url: string, fault?: FerryErrorCode) {
    this.url = url;
    this.fault = fault;
  }

  async subdirs(): Promise<readonly string[]> {
    this.#answer('subdirs');
    return Promise.resolve(['noarch']);
  }

  async openMetadata(path: string): Promise<MetadataAnswer> {
    this.#answer(path);
    const body = openerOf(Buffer.from(this.url))();
    return Promise.resolve({ status: 'found', body, validators: {} });
  }

  async *openArchive({ filename }: ArchiveLocation): Bytes {
    this.#answer(filename);
    yield* openerOf(Buffer.from(this.url))();
  }

  #answer(what: string): void {
    this.asked.push(what);
    if (this.fault !== undefined) throw new FerryError(this.fault, 'no');
  }
}

async function textOf(answer: MetadataAnswer): Promise<string> {
  if (answer.status !== 'found') return answer.status;
  return Buffer.from(await collect(answer.body, 1000, 'answer')).toString();
}

async function archiveFrom(channel: ChannelSource): Promise<string> {
  return Buffer.from(await collect(channel.openArchive(ARCHIVE), 1000, 'archive')).toString();
}

test('metadata comes from the first place that answers, and from then on from that one', async () => {
  const switches: string[] = [];
  const [first, second] = [new Place('one', 'TIMEOUT'), new Place('two')];
  const channel = new FallbackChannel([first, second], {
    onSwitch: (from, to, why) => switches.push(`${from} ${to} ${why.code}`),
  });
  expect(channel.url).toBe('one');
  expect(await textOf(await channel.openMetadata('noarch/repodata.json'))).toBe('two');
  first.fault = undefined;
  expect(await textOf(await channel.openMetadata('linux-64/repodata.json'))).toBe('two');
  expect(first.asked).toEqual(['noarch/repodata.json']);
  expect(switches).toEqual(['one two TIMEOUT']);
});

test('questions that fail at once move on once', async () => {
  const [first, second, third] = [new Place('one', 'NETWORK'), new Place('two'), new Place('three')];
  const channel = new FallbackChannel([first, second, third]);
  const answers = await Promise.all(['a', 'b', 'c'].map((path) => channel.openMetadata(path)));
  expect(await Promise.all(answers.map(textOf))).toEqual(['two', 'two', 'two']);
  expect(third.asked).toEqual([]);
});

test('what is no fault of the server is not asked elsewhere, and the last place has the last word', async () => {
  const [first, second] = [new Place('one', 'REPODATA_INVALID'), new Place('two')];
  await expect(new FallbackChannel([first, second]).openMetadata('x')).rejects.toMatchObject({
    code: 'REPODATA_INVALID',
  });
  expect(second.asked).toEqual([]);
  const dead = new FallbackChannel([new Place('one', 'NETWORK'), new Place('two', 'RATE_LIMITED')]);
  await expect(dead.subdirs()).rejects.toMatchObject({ code: 'RATE_LIMITED' });
});

test('an archive comes from any place that has it', async () => {
  const [first, second] = [new Place('one', 'ARCHIVE_ABSENT'), new Place('two')];
  expect(await archiveFrom(new FallbackChannel([first, second]))).toBe('two');
  const nowhere = new FallbackChannel([first, new Place('two', 'ARCHIVE_ABSENT')]);
  await expect(archiveFrom(nowhere)).rejects.toMatchObject({ code: 'ARCHIVE_ABSENT' });
  const broken = new FallbackChannel([new Place('one', 'DIGEST_MISMATCH'), second]);
  await expect(archiveFrom(broken)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
});
