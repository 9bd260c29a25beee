import { describe, expect, test } from 'vitest';
import { Repodata } from '#ferry/conda/repodata/repodata.js';
import { surveyRepodata, type RepodataSurvey } from '#ferry/conda/repodata/survey-repodata.js';
import { collect, openerOf } from '#ferry/io/bytes.js';

const RECORD = '"name":"x","version":"1","build":"0"';

async function survey(text: string): Promise<RepodataSurvey | undefined> {
  let found: RepodataSurvey | undefined;
  const passed = surveyRepodata(openerOf(Buffer.from(text))(), 'noarch', (told) => (found = told));
  expect(Buffer.from(await collect(passed, 1e6, 'it')).toString()).toBe(text);
  return found;
}

describe('a look through repodata as it passes', () => {
  test.each([
    ['', 0, false],
    ['{}', 0, false],
    [`{"packages":{"x-1-0.tar.bz2":{${RECORD}}},"packages.conda":{"x-1-0.conda":{${RECORD}}}}`, 2, false],
    [`{"v3":{"conda":{"x-1-0":{${RECORD}}}}}`, 1, false],
    ['{"info":{"subdir":"noarch","base_url":"https://elsewhere"}}', 0, true],
    ['{"info":{"channel_relations":{}}}', 0, true],
    [`{"packages.conda":{"x-1-0.conda":{${RECORD},"url":"../x"}}}`, 1, true],
    [`{"packages.conda":{"x-1-0.conda":{${RECORD},"url":null}}}`, 1, false],
    [`{"packages.conda":{"x-1-0.conda":{${RECORD},"\\u0075rl":"../x"}}}`, 1, true],
  ])('%s', async (text, recordCount, leadsElsewhere) => {
    expect(await survey(text)).toEqual({ recordCount, leadsElsewhere });
  });

  test.each(['[]', '{', '{"info":[]}', '{"info":{"subdir":"linux-64"}}', '{"packages":[]}', '{}x'])(
    'refuses %s',
    async (text) => {
      await expect(survey(text)).rejects.toMatchObject({ code: 'REPODATA_INVALID' });
    },
  );

  test('a copy is without a `url` that is spelled with escapes, too', async () => {
    const text = `{"packages.conda":{"x-1-0.conda":{${RECORD},"\\u0075rl":"../x"}}}`;
    const repodata = await Repodata.read(openerOf(Buffer.from(text)), 'noarch');
    expect(repodata.neededChanges()).toHaveLength(1);
    const copy = Buffer.from(
      await collect(
        repodata.splice(() => true),
        1e6,
        'it',
      ),
    ).toString();
    expect(JSON.parse(copy)).toEqual({
      'packages.conda': { 'x-1-0.conda': { name: 'x', version: '1', build: '0' } },
    });
  });
});
