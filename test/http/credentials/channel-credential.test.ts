import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  createChannelCredentialFinder,
  credentialOfUrl,
  withCondaToken,
  withoutUserinfo,
} from '#ferry/http/credentials/channel-credential.js';
import { tempFolder } from '../../support/temp.js';

test.each([
  ['https://me:p%40ss@conda.example/x', { kind: 'basic', username: 'me', password: 'p@ss' }],
  ['https://me@conda.example/x', { kind: 'basic', username: 'me', password: '' }],
  ['https://100%:50%@conda.example/x', { kind: 'basic', username: '100%', password: '50%' }],
  ['https://conda.example/t/tk-1/x/noarch', { kind: 'conda-token', token: 'tk-1' }],
  ['https://conda.example/api/t/tk%2F1/x', { kind: 'conda-token', token: 'tk/1' }],
  ['https://me:p@conda.example/t/tk/x', { kind: 'basic', username: 'me', password: 'p' }],
  ['https://conda.example/t', undefined],
  ['https://conda.example/t//x', undefined],
  ['https://conda.example/tt/x', undefined],
])('what the URL %s carries', (url, expected) => {
  expect(credentialOfUrl(new URL(url))).toEqual(expected);
});

test('user name and password go out of a URL, a token into it', () => {
  expect(withoutUserinfo(new URL('https://me:p@conda.example/t/tk/x')).href).toBe(
    'https://conda.example/t/tk/x',
  );
  const url = new URL('https://conda.example/x?y');
  const marked = withCondaToken(url, 'a/b');
  expect(marked.href).toBe('https://conda.example/t/a%2Fb/x?y');
  expect(url.href).toBe('https://conda.example/x?y');
  expect(withCondaToken(marked, 'other').href).toBe(marked.href);
  expect(credentialOfUrl(marked)).toEqual({ kind: 'conda-token', token: 'a/b' });
});

test('the URL comes first, then rattler’s files in their order, then netrc', async () => {
  const folder = await tempFolder();
  const [own, common, netrc] = [join(folder, 'own.json'), join(folder, 'common.json'), join(folder, 'netrc')];
  const find = createChannelCredentialFinder({ rattlerAuthFiles: [own, common], netrcFile: netrc });
  const ask = async (url: string) => await find(new URL(url));
  const url = 'https://conda.example:8443/x';

  expect(await ask(url)).toBeUndefined();
  await writeFile(netrc, 'machine conda.example login me password netrc');
  await chmod(netrc, 0o644);
  expect(await ask(url)).toEqual({ kind: 'basic', username: 'me', password: 'netrc' });
  await writeFile(common, '{"*.example": {"CondaToken": "common"}}');
  expect(await ask(url)).toEqual({ kind: 'conda-token', token: 'common' });
  await writeFile(own, '{"conda.example": {"BearerToken": "own"}}');
  expect(await ask(url)).toEqual({ kind: 'bearer', token: 'own' });
  expect(await ask('https://you:p@conda.example/x')).toEqual({
    kind: 'basic',
    username: 'you',
    password: 'p',
  });
  await rm(own);
  expect(await ask(url)).toEqual({ kind: 'conda-token', token: 'common' });
  expect(await ask('https://other.org/x')).toBeUndefined();
});

test('a file that cannot be read is an error, though a later one could be', async () => {
  const folder = await tempFolder();
  await writeFile(join(folder, 'netrc'), 'machine conda.example login me password netrc');
  await mkdir(join(folder, 'own.json'));
  const sources = { rattlerAuthFiles: [join(folder, 'own.json')], netrcFile: join(folder, 'netrc') };
  const find = createChannelCredentialFinder(sources);
  await expect(find(new URL('https://conda.example/x'))).rejects.toMatchObject({
    code: 'CREDENTIALS_UNREADABLE',
  });
  await expect(
    find(new URL('https://conda.example/x'), AbortSignal.abort(new Error('stop'))),
  ).rejects.toThrow('stop');
  expect(
    await createChannelCredentialFinder({ rattlerAuthFiles: [] })(new URL('https://x/')),
  ).toBeUndefined();
});
