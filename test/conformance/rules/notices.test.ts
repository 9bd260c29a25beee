import { expect, test } from 'vitest';
import { checkNotices } from '#ferry/conformance/rules/notices.js';
import { clausesOf } from '../../support/findings.js';

const good = {
  id: '1',
  message: 'Hello',
  level: 'info',
  created_at: '2026-01-01T12:00:00+00:00',
  expires_at: '2026-01-02',
};
const { expires_at: _, ...endless } = good;

function check(value: unknown): string[] {
  return clausesOf((log) => {
    checkNotices({ value, where: 'notices.json' }, log);
  });
}

test.each([
  ['cep6/document', []],
  ['cep6/document', {}],
  ['cep6/document', { notices: ['Hello'] }],
  ['cep6/id', { notices: [{ ...good, id: 1 }] }],
  ['cep6/unique-id', { notices: [good, good] }],
  ['cep6/message', { notices: [{ ...good, message: undefined }] }],
  ['cep6/level', { notices: [{ ...good, level: 'error' }] }],
  ['cep6/created-at', { notices: [{ ...good, created_at: 'yesterday' }] }],
  ['cep6/expires-at', { notices: [endless] }],
  ['cep6/expires-at', { notices: [{ ...good, expires_at: 1 }] }],
  ['cep6/expired-at', { notices: [{ ...endless, expired_at: '2026-01-02' }] }],
  ['cep6/time-order', { notices: [{ ...good, expires_at: '2025-12-31T00:00:00Z' }] }],
])('%s: not %j', (clause, value) => {
  expect(check({ notices: [] })).toEqual([]);
  expect(check({ notices: [good, { ...good, id: '2', interval: 3 }] })).toEqual([]);
  expect(check(JSON.parse(JSON.stringify(value)))).toEqual([clause]);
});
