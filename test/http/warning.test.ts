import { expect, test } from 'vitest';
import { openerOf } from '#ferry/io/bytes.js';
import { withWarnings } from '#ferry/http/warning.js';
import { answerOf, get, openTestClient } from '../support/http.js';
import { startScriptedServer } from '../support/scripted-server.js';

async function told(...headers: (string | undefined)[]): Promise<string[]> {
  const texts: string[] = [];
  const left = [...headers];
  const send = withWarnings(
    async () => {
      const warning = left.shift();
      return answerOf(200, warning === undefined ? {} : { warning });
    },
    (text) => texts.push(text),
  );
  for (let i = 0; i < headers.length; i += 1)
    await send({ method: 'GET', url: new URL('https://r.example/') });
  return texts;
}

test.each<[string, string, string[]]>([
  ['one', '299 - "this tag goes away"', ['this tag goes away']],
  ['several', '299 - "one", 299 r.example "two"', ['one', 'two']],
  ['with escapes', String.raw`299 - "say \"hello\" \\ goodbye"`, [String.raw`say "hello" \ goodbye`]],
  ['of another code', '199 - "never mind", 299 - "mind"', ['mind']],
  ['that never ends', '299 - "abc', []],
  ['that is none', 'beware', []],
  [
    'with secrets',
    '299 - "see https://me:pw@r.example/t/tk-1/x?sig=1"',
    ['see https://***:***@r.example/t/***/x?sig=***'],
  ],
  ['for terminals', '299 - "a\u001b[2Jb\u202ec\u0000d"', ['a [2Jb c d']],
])('passes on warnings: %s', async (_, header, texts) => {
  expect(await told(header)).toEqual(texts.map((text) => `registry.example says: ${text}`));
});

test('says each text once, and a server that says something new each time is not listened to for ever', async () => {
  expect(await told('299 - "a"', undefined, '299 - "a"', '299 - "b"', '299 - "a"')).toHaveLength(2);
  const many = Array.from({ length: 1000 }, (_, i) => `299 - "${i}"`);
  expect(await told(...many)).toHaveLength(100);
});

test('looks at a bounded part of a header', async () => {
  expect(await told(`299 - "${'x'.repeat(1_000_000)}"`)).toEqual([]);
  const [text] = await told(`299 - "short", 299 - "${'x'.repeat(1_000_000)}"`);
  expect(text).toBe('registry.example says: short');
  expect(await told('299 - "'.repeat(100_000))).toSatisfy((texts: string[]) => texts.length < 1000);
});

test('the whole client says what a server warns of once, whatever the status, and acts no differently', async () => {
  const headers = { warning: '299 - "soon read-only"' };
  const server = await startScriptedServer(
    ['GET /', { headers, body: 'fine' }],
    ['GET /', { headers, body: 'fine' }],
    ['PUT /', { headers, status: 404 }],
  );
  const warnings: string[] = [];
  const { send } = openTestClient({ onWarning: (text) => warnings.push(text) });
  expect(await get(send, server.url('/'))).toBe('fine');
  expect(await get(send, server.url('/'))).toBe('fine');
  const body = { size: 0, open: openerOf(Buffer.alloc(0)) };
  await (await send({ method: 'PUT', url: server.url('/'), body })).discard();
  expect(warnings).toEqual([`${server.host} says: soon read-only`]);
});
