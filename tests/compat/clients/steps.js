// What both clients for Node.js are asked to do. A client is an object with the methods that are
// called here; each resolves to what the server answered, nil as null and values as strings.
import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';

export async function walk(name, mode, client) {
  const p = `${name}:`;
  assert.equal(await client.ping(), 'PONG');
  assert.equal(await client.set(`${p}a`, 'value \u0000 \r\n é'), 'OK');
  assert.equal(await client.get(`${p}a`), 'value \u0000 \r\n é');
  assert.equal(await client.get(`${p}absent`), null);
  assert.equal(await client.call(`{${p}}n`, 'SET', `{${p}}n`, '7'), 'OK');
  assert.equal(await client.call(`{${p}}n`, 'INCRBY', `{${p}}n`, '5'), 12);
  assert.deepEqual(await client.call(`{${p}}n`, 'MGET', `{${p}}n`, `{${p}}absent`), ['12', null]);

  const keys = Array.from({ length: 200 }, (_, i) => `${p}pipe:${i}`);
  const replies = await client.pipeline(keys.flatMap((k, i) => [['SET', k, `${i}`], ['GET', k]]));
  assert.deepEqual(replies, keys.flatMap((_, i) => ['OK', `${i}`]));

  assert.equal(await client.call(`${p}short`, 'SET', `${p}short`, 'v', 'PX', '100'), 'OK');
  const began = Date.now();
  while ((await client.get(`${p}short`)) !== null) {
    assert.ok(Date.now() - began < 5000, 'a key with 100 ms to live is still there after 5 s');
    await wait(20);
  }
  assert.equal(await client.call(`${p}long`, 'SET', `${p}long`, 'v', 'EX', '1000'), 'OK');
  const left = await client.call(`${p}long`, 'TTL', `${p}long`);
  assert.ok(left >= 990 && left <= 1000, `TTL ${left}`);

  const results = await client.multi([['SET', `{${p}}t`, '1'], ['INCR', `{${p}}t`], ['GET', `{${p}}t`]]);
  assert.deepEqual(results, ['OK', 2, '2']);
  console.log(`${name}, ${mode}: values, pipeline, expiry, multi`);
}

// arguments of the programs: node|cluster HOST PORT; the password is in LIGHTNING_PASSWORD.
export function settings() {
  const [mode, host, port] = process.argv.slice(2);
  return { mode, host, port: Number(port), password: process.env.LIGHTNING_PASSWORD || undefined };
}
