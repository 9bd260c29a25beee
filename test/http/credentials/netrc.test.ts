import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isFerryError } from '#ferry/errors.js';
import { findInNetrc, netrcPath, parseNetrc } from '#ferry/http/credentials/netrc.js';
import { everythingOf } from '../../support/http.js';

const CANARY = 'canary-5ecret';
const find = (text: string, host: string) => findInNetrc(parseNetrc(text, '/home/me/.netrc'), host);
const basic = (username: string, password: string) => ({ kind: 'basic', username, password });

describe('a netrc file', () => {
  test.each([
    ['in one line', 'machine h login me password p'],
    ['in several lines', 'machine h\n\tlogin me\r\n\tpassword p\n'],
    ['with the words in another order', 'machine h password p account a user me'],
    ['with another host name', 'machine H login me password p'],
    ['with a second entry of the host', 'machine h login you password q machine h login me password p'],
    [
      'with comments',
      '# password x\nmachine h # login x "\nlogin me #\n#\npassword p#\n'.replace('p#', 'p #x'),
    ],
    ['with a macro', 'macdef init\ncd /x\nmachine h login x password x\n\nmachine h login me password p'],
    ['with a macro inside', 'machine h login me\nmacdef m\nbin\n \npassword p'],
    ['with a macro at the end', 'machine h login me password p\nmacdef m\nmachine'],
    ['with a default', 'machine x login x password x default login me password p'],
    ['with a default before', 'default login x password x\nmachine h login me password p'],
    ['with a byte order mark less', 'machine "h" login "me" password "p"'],
    ['with escapes', String.raw`machine h login \me password \p`],
  ])('%s', (_, text) => {
    expect(find(text, 'h')).toEqual(basic('me', 'p'));
  });

  test.each([
    ['"top secret"', 'top secret'],
    [String.raw`"a\"b\\c"`, 'a"b\\c'],
    [String.raw`a\ b\"`, 'a b"'],
    ['#hash', '#hash'],
    ['a"b', 'a"b'],
    ['""', ''],
    ['пароль', 'пароль'],
    ['password', 'password'],
  ])('the password %s is %s', (word, password) => {
    expect(find(`machine h login me password ${word}\nmachine i login x password y`, 'h')).toEqual(
      basic('me', password),
    );
  });

  test('an entry without password is no credential, one without login has none', () => {
    expect(find('machine h login me default login x password y', 'h')).toBeUndefined();
    expect(find('machine h password p', 'h')).toEqual(basic('', 'p'));
    expect(find('machine h login me password p', 'other')).toBeUndefined();
    expect(find('', 'h')).toBeUndefined();
  });

  test.each([
    [3, `machine h\nlogin me\n${CANARY}`],
    [1, `login ${CANARY}`],
    [2, `machine h login ${CANARY}\npasswort ${CANARY}`],
    [2, `machine h password ${CANARY} login\n`],
    [1, `machine`],
    [2, `machine h\npassword "${CANARY}\nlogin me`],
    [2, `machine h\npassword "${CANARY}`],
    [2, `machine h\npassword "${CANARY}\\`],
    [5, `macdef x\na\n\nmachine h\n${CANARY}`],
    [2, `machine h\nmacdef`],
  ])('is refused with the line %i and nothing of it: %j', (line, text) => {
    try {
      find(text, 'h');
    } catch (error) {
      expect(error).toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
      expect((error as Error).message).toMatch(
        new RegExp(`^netrc file \`/home/me/.netrc\` .*, line ${line}$`),
      );
      expect(everythingOf(error)).not.toMatch(/canary|passwort/);
      return;
    }
    throw new Error('it was read');
  });

  test('what is quoted is read as it was', () => {
    const word = fc.string({ unit: 'binary' }).filter((text) => !/[\r\n]/.test(text));
    const quote = (text: string) => `"${text.replace(/["\\]/g, '\\$&')}"`;
    fc.assert(
      fc.property(word, word, (login, password) => {
        const text = `machine h login ${quote(login)} password ${quote(password)}`;
        expect(find(text, 'h')).toEqual(basic(login, password));
      }),
    );
  });

  test('no text makes it throw anything else, or run for ever', () => {
    const word = fc.constantFrom(
      'machine',
      'default',
      'login',
      'password',
      'macdef',
      '#',
      '"',
      '\\',
      '\n',
      ' ',
      'h',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(word).map((words) => words.join(' ')),
        ),
        (text) => {
          try {
            find(text, 'h');
          } catch (error) {
            expect(isFerryError(error, 'CREDENTIALS_UNREADABLE')).toBe(true);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test('is at $NETRC or in the home folder', () => {
    expect(netrcPath({ NETRC: '/x' }, '/home/me')).toBe('/x');
    expect(netrcPath({ NETRC: '' }, '/home/me')).toMatch(/^.home.me.[._]netrc$/);
  });
});
