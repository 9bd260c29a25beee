import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IntegrityError } from '#ferry/errors.js';
import { collect, type Bytes } from '#ferry/io/bytes.js';
import { digestOf } from '#ferry/io/digest.js';
import { checkBytes, exactBytes, verifyBytes } from '#ferry/io/verify.js';
import { readAll, rejection } from '../contracts/artifacts.js';

const right = Buffer.from('the right bytes');
const expected = { digest: digestOf(right), size: right.byteLength };

async function* inPieces(bytes: Uint8Array, size = 4): Bytes {
  for (let at = 0; at < bytes.byteLength; at += size)
    yield await Promise.resolve(bytes.subarray(at, at + size));
}

test.each(['sha256', 'sha512'] as const)('the right bytes pass (%s)', async (algorithm) => {
  const what = { digest: digestOf(right, algorithm), size: right.byteLength };
  expect((await readAll(verifyBytes(inPieces(right), what, 'x'))).equals(right)).toBe(true);
  checkBytes(right, what, 'x');
});

test.each([
  ['other', 'the wrong bytes', 'DIGEST_MISMATCH'],
  ['too few', 'the right byte', 'SIZE_MISMATCH'],
  ['too many', 'the right bytess', 'SIZE_EXCEEDED'],
  ['no', '', 'SIZE_MISMATCH'],
])('%s bytes are refused, in a stream and at hand', async (_, text, code) => {
  const bytes = Buffer.from(text);
  const error = await rejection(readAll(verifyBytes(inPieces(bytes), expected, 'the archive')));
  expect(error).toBeInstanceOf(IntegrityError);
  expect(error).toMatchObject({ code });
  expect(String(error)).toContain('the archive has');
  const atHand = code === 'SIZE_EXCEEDED' ? 'SIZE_MISMATCH' : code;
  expect(() => {
    checkBytes(bytes, expected, 'x');
  }).toThrow(expect.objectContaining({ code: atHand }));
});

test('a byte too many is noticed at once, and not passed on', async () => {
  let isClosed = false;
  const endless = (async function* (): Bytes {
    try {
      for (;;) yield await Promise.resolve(Buffer.alloc(10));
    } finally {
      isClosed = true;
    }
  })();
  let passed = 0;
  const reading = (async () => {
    for await (const chunk of verifyBytes(endless, expected, 'x')) passed += chunk.byteLength;
  })();
  expect(await rejection(reading)).toMatchObject({ code: 'SIZE_EXCEEDED', expected: '15', actual: '20' });
  expect(passed).toBe(10);
  expect(isClosed).toBe(true);
});

describe('exactBytes', () => {
  test.each([
    [14, 'SIZE_MISMATCH'],
    [16, 'SIZE_EXCEEDED'],
    [0, 'SIZE_MISMATCH'],
  ])('refuses %i bytes instead of 15', async (size, code) => {
    expect(await rejection(readAll(exactBytes(inPieces(Buffer.alloc(size)), 15, 'x')))).toMatchObject({
      code,
    });
  });

  test('passes as many as it should', async () => {
    expect(await readAll(exactBytes(inPieces(right), 15, 'x'))).toEqual(right);
  });
});

test('bytes pass exactly if they are the ones described, however they are cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 50 }),
      fc.uint8Array({ maxLength: 50 }),
      fc.integer({ min: 1, max: 60 }),
      async (bytes, others, size) => {
        const what = { digest: digestOf(bytes), size: bytes.byteLength };
        expect(Buffer.from(await collect(verifyBytes(inPieces(bytes, size), what, 'x'), 50, 'x'))).toEqual(
          Buffer.from(bytes),
        );
        if (Buffer.compare(bytes, others) === 0) return;
        expect(await rejection(readAll(verifyBytes(inPieces(others, size), what, 'x')))).toBeInstanceOf(
          IntegrityError,
        );
      },
    ),
  );
});
