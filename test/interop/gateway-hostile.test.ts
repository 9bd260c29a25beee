import { expect, test } from 'vitest';
import { faultsOf, probe, probeAll, untilNothing } from '../support/gateway-probe.js';
import { startGatewayProcess } from '../support/gateway-process.js';
import { fixtureBytes, makeVictim, sendHostile } from '../support/hostile-run.js';
import { sendRaw } from '../support/raw-request.js';

const SEED = 7;

test('hundreds of hostile requests are refused, and leave the gateway as it was', async () => {
  const victim = await makeVictim();
  const served = await startGatewayProcess(victim.channels);
  const repodata = ['/ch/noarch/repodata.json', '/files/linux-64/repodata.json'];
  expect(
    faultsOf(await probeAll(served.url, [...repodata, ...victim.prey.archives]), victim.truth, []),
  ).toEqual([]);
  const before = await served.heldAfterGc();
  const report = await sendHostile(served.url, victim, { count: 400, seed: SEED, slowShare: 0 });
  expect(report.faults).toEqual([]);
  expect(faultsOf(await probeAll(served.url, victim.prey.archives), victim.truth, [])).toEqual([]);
  // Channels that nobody heard of hold nothing open, and sockets are closed by now.
  await untilNothing(async () => {
    const { handles } = await served.heldAfterGc();
    return handles <= before.handles + 4 ? [] : [`${handles} handles, before ${before.handles}`];
  });
});

test('parts of archives are what was asked for, whatever else was', async () => {
  const victim = await makeVictim();
  const served = await startGatewayProcess(victim.channels);
  for (const path of victim.prey.archives.slice(0, 4)) {
    const whole = await fixtureBytes(path);
    for (const [range, start, end] of [
      ['bytes=0-0', 0, 1],
      ['bytes=5-', 5, whole.byteLength],
      ['bytes=-7', whole.byteLength - 7, whole.byteLength],
      ['bytes=3-99999999999999999999', 3, whole.byteLength],
    ] as const) {
      const { status, body } = await probe(served.url, path, { range });
      expect([status, body.equals(whole.subarray(start, end))]).toEqual([206, true]);
    }
  }
});

test('two hosts are one too many', async () => {
  const victim = await makeVictim();
  const served = await startGatewayProcess(victim.channels);
  // The second time it could be given from memory.
  for (const hosts of [
    'Host: a\r\n',
    'Host: a\r\nHost: b\r\n',
    'Host: a\r\n',
    'Host: b\r\nHost: b\r\n',
    '',
  ]) {
    const text = `GET /ch/noarch/repodata.json HTTP/1.1\r\n${hosts}\r\n`;
    const { answers } = await sendRaw(served.url, { pieces: [Buffer.from(text)] });
    expect(answers.map(({ status }) => status)).toEqual([hosts === 'Host: a\r\n' ? 200 : 400]);
  }
});
