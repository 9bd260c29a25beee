import { expect, test } from 'vitest';
import { checkCompressedForm, checkCurrentRepodata } from '#ferry/conformance/rules/repodata-forms.js';
import { RepodataText } from '#ferry/conformance/rules/repodata-text.js';
import { clausesOf } from '../../support/findings.js';

function text(records: Readonly<Record<string, unknown>>): RepodataText {
  return new RepodataText(Buffer.from(JSON.stringify({ 'packages.conda': records })));
}

test('cep36/zst-same-bytes: the compressed form expands to the file', () => {
  const where = 'noarch/repodata.json.zst';
  const check = (expandedDigest: string) =>
    clausesOf((log) => {
      checkCompressedForm({ where, plainDigest: 'sha256:aa', expandedDigest }, log);
    });
  expect(check('sha256:aa')).toEqual([]);
  expect(check('sha256:bb')).toEqual(['cep36/zst-same-bytes']);
});

test('cep36/current-repodata-subset: lists a part of the whole', () => {
  const check = (current: RepodataText) =>
    clausesOf((log) => {
      const full = text({ 'a-1-0.conda': {}, 'b-1-0.conda': {} });
      checkCurrentRepodata({ where: 'noarch/current_repodata.json', current, full }, log);
    });
  expect(check(text({ 'a-1-0.conda': {} }))).toEqual([]);
  expect(check(text({ 'a-1-0.conda': {}, 'c-1-0.conda': {} }))).toEqual(['cep36/current-repodata-subset']);
});
