import { encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseBoundedMsgpack } from '#ferry/conda/shards/parse-msgpack.js';

const MANY = 1_000_000;

const key = fc.string().filter((text) => text !== '__proto__');
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'medium' },
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true }).filter((number) => !Object.is(number, -0)),
    fc.boolean(),
    fc.constant(null),
    fc.string({ maxLength: 300, unit: 'binary' }),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(key, tie('value'), { maxKeys: 20, noNullPrototype: true }),
  ),
}));

test('cep16/shard-format: what was encoded is decoded', () => {
  fc.assert(
    fc.property(value, (one) => {
      expect(parseBoundedMsgpack(encode(one), MANY)).toEqual({ value: one, hasOddKeys: false });
    }),
  );
});

test('cep16/shard-format: what was cut or changed never makes it throw', () => {
  fc.assert(
    fc.property(value, fc.nat(), fc.nat(255), fc.boolean(), (one, place, byte, isCut) => {
      const bytes = Buffer.from(encode(one));
      const at = place % bytes.byteLength;
      bytes[at] = byte;
      const parsed = parseBoundedMsgpack(isCut ? bytes.subarray(0, at) : bytes, MANY);
      expect('value' in parsed || parsed.fault === 'msgpack').toBe(true);
    }),
    { numRuns: 1000 },
  );
});

test('cep16/shard-format: any bytes at all never make it throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      expect(parseBoundedMsgpack(bytes, MANY)).toBeDefined();
    }),
    { numRuns: 2000 },
  );
});

test.each([
  ['too many values', encode(Array.from({ length: 20 }, (_, i) => i)), 'limit'],
  ['too deep', Buffer.concat([Buffer.alloc(101, 0x91), Buffer.from([0])]), 'limit'],
  ['a key that would change what objects are', Buffer.from([0x81, ...encode('__proto__'), 1]), 'msgpack'],
  ['nothing', Buffer.alloc(0), 'msgpack'],
])('cep16/limits: %s', (_, bytes, fault) => {
  expect(parseBoundedMsgpack(bytes, 20)).toMatchObject({ fault });
});

test('cep16/limits: what is just within them is parsed', () => {
  expect(parseBoundedMsgpack(encode(Array.from({ length: 19 }, () => 0)), 20)).toHaveProperty('value');
  expect(
    parseBoundedMsgpack(Buffer.concat([Buffer.alloc(100, 0x91), Buffer.from([0])]), MANY),
  ).toHaveProperty('value');
});

test('cep16/text: keys that are no text are told', () => {
  const bytes = Buffer.concat([
    Buffer.from([0x82]),
    encode(7),
    encode(1),
    encode(Buffer.from('a')),
    encode(2),
  ]);
  expect(parseBoundedMsgpack(bytes, MANY)).toEqual({ value: { 7: 1, a: 2 }, hasOddKeys: true });
});
