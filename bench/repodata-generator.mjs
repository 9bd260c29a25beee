/**
 * Repodata of any size, the same on each run: records with the fields of conda-forge/linux-64, whose lengths follow those of
 * a real subdir of 4,211 records (quantiles below), with as many dependencies as conda-forge's compiled packages have.
 */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';

/** Lengths at 0, 5, 10 … 100 % of the real records. */
const QUANTILES = {
  name: [1, 5, 5, 6, 6, 7, 7, 7, 8, 8, 9, 9, 9, 9, 10, 10, 11, 11, 12, 13, 21],
  version: [3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 7, 11],
  build: [1, 8, 8, 8, 8, 8, 8, 8, 8, 9, 9, 9, 14, 14, 14, 14, 14, 16, 16, 16, 20],
  license: [3, 3, 5, 5, 5, 5, 5, 9, 10, 10, 10, 10, 10, 13, 18, 18, 18, 18, 20, 25, 47],
  dependency: [2, 6, 6, 6, 7, 8, 8, 8, 9, 10, 11, 13, 13, 15, 16, 17, 17, 19, 23, 25, 39],
  dependencies: [0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6, 7, 9, 12, 47],
};
/** The real subdir is of R packages; compiled ones of conda-forge depend on this many times more. */
const DEPENDENCY_FACTOR = 3.7;
/** Presence of fields that not all records have. */
const HAS_LICENSE = 0.99;
const HAS_FAMILY = 0.81;
const HAS_CONSTRAINS = 0.12;
const HAS_TRACK_FEATURES = 0.01;
/** Old records of conda-forge stand in `packages`. */
const IN_TAR_BZ2 = 0.3;
/** Records of one name. */
const BUILDS_PER_NAME = 34;

const FAMILIES = ['GPL3', 'MIT', 'MIT', 'BSD', 'GPL2', 'LGPL', 'APACHE', 'Other'];
const NAME_CHARACTERS = 'abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz-_0123456789';
const VERSION_CHARACTERS = '0123456789....';
const BUILD_CHARACTERS = 'h0123456789abcdefpy_';
const TEXT_CHARACTERS = 'abcdefghijklmnopqrstuvwxyz 0123456789.,>=<*-';
const HEX = '0123456789abcdef';

/** Random numbers from a seed, the same everywhere. @param {number} seed */
function mulberry32(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * The text in pieces of about a megabyte.
 * @param {{ records: number, seed?: number }} options
 */
export function* generateRepodata({ records, seed = 1 }) {
  const random = mulberry32(seed);
  const pick = (/** @type {readonly number[]} */ quantiles) => {
    const at = random() * (quantiles.length - 1);
    const low = quantiles[Math.floor(at)] ?? 0;
    const high = quantiles[Math.ceil(at)] ?? low;
    return Math.round(low + (high - low) * (at % 1));
  };
  const text = (/** @type {string} */ characters, /** @type {number} */ length) => {
    let result = '';
    for (let i = 0; i < length; i += 1) result += characters.charAt(Math.floor(random() * characters.length));
    return result;
  };
  // Dependencies repeat: what a channel depends on is a small part of what it holds.
  const dependencies = Array.from({ length: 20_000 }, () =>
    text(TEXT_CHARACTERS, pick(QUANTILES.dependency)),
  );
  const licenses = Array.from({ length: 200 }, () => text(NAME_CHARACTERS, pick(QUANTILES.license)));
  const list = (/** @type {number} */ count) => {
    const items = Array.from({ length: count }, () => {
      // Few of them are in most records.
      const at = Math.floor(random() ** 3 * dependencies.length);
      return `"${dependencies[at] ?? ''}"`;
    });
    return `[${items.join(',')}]`;
  };

  let piece = '{"info":{"subdir":"linux-64"},"packages":{';
  let section = 'tar.bz2';
  let name = '';
  let isFirst = true;
  const tarBz2Count = Math.floor(records * IN_TAR_BZ2);
  for (let i = 0; i < records; i += 1) {
    if (i === tarBz2Count) {
      piece += '},"packages.conda":{';
      section = 'conda';
      isFirst = true;
    }
    if (i % BUILDS_PER_NAME === 0 || i === tarBz2Count) {
      name = `${text(NAME_CHARACTERS.slice(0, 26), 1)}${text(NAME_CHARACTERS, pick(QUANTILES.name))}${String(i)}`;
    }
    const version = `${String(Math.floor(random() * 9))}${text(VERSION_CHARACTERS, pick(QUANTILES.version))}`;
    const build = `${text(BUILD_CHARACTERS, pick(QUANTILES.build))}_${String(i % 10)}`;
    const fields = [
      `"build":"${build}"`,
      `"build_number":${String(i % 10)}`,
      ...(random() < HAS_CONSTRAINS ? [`"constrains":${list(1 + Math.floor(random() * 3))}`] : []),
      `"depends":${list(Math.round(pick(QUANTILES.dependencies) * DEPENDENCY_FACTOR))}`,
      ...(random() < HAS_LICENSE
        ? [`"license":"${licenses[Math.floor(random() ** 2 * licenses.length)] ?? ''}"`]
        : []),
      ...(random() < HAS_FAMILY
        ? [`"license_family":"${FAMILIES[Math.floor(random() * FAMILIES.length)] ?? ''}"`]
        : []),
      `"md5":"${text(HEX, 32)}"`,
      `"name":"${name}"`,
      `"sha256":"${text(HEX, 64)}"`,
      `"size":${String(Math.floor(1000 * 10 ** (random() * 4.5)))}`,
      '"subdir":"linux-64"',
      `"timestamp":${String(1.5e12 + Math.floor(random() * 2.6e11))}`,
      ...(random() < HAS_TRACK_FEATURES ? ['"track_features":"some_feature"'] : []),
      `"version":"${version}"`,
    ];
    piece += `${isFirst ? '' : ','}"${name}-${version}-${build}.${section}":{${fields.join(',')}}`;
    isFirst = false;
    if (piece.length > 1024 * 1024) {
      yield Buffer.from(piece);
      piece = '';
    }
  }
  yield Buffer.from(`${piece}},"removed":[],"repodata_version":1}\n`);
}

/**
 * Writes it to a file.
 * @param {string} path
 * @param {{ records: number, seed?: number }} options
 * @returns {Promise<number>} its bytes
 */
export async function writeRepodata(path, options) {
  const file = createWriteStream(path);
  let size = 0;
  for (const piece of generateRepodata(options)) {
    size += piece.byteLength;
    if (!file.write(piece)) await once(file, 'drain');
  }
  file.end();
  await once(file, 'finish');
  return size;
}
