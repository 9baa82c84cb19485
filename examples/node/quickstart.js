// The shortest useful Node.js program for a Lightning cluster, with node-redis.
//
//   lightning-node dev                                  # in another terminal
//   cd examples/node && npm ci && node quickstart.js    # [HOST:PORT]
//
// Any node will do: each answers for every key.
import { createClient } from 'redis';

const address = process.argv[2] ?? '127.0.0.1:6379';
const db = createClient({ url: `redis://${address}` });
db.on('error', (err) => {
  console.error('quickstart:', err.message);
  process.exit(1);
});
await db.connect();

// When set resolves, a majority of the key's shard has the write on disk.
await db.set('planet:3', 'Earth');
console.log('get    planet:3 =', await db.get('planet:3'));

// An hour to live.
await db.set('session:42', 'alice', { expiration: { type: 'EX', value: 3600 } });
console.log('ttl    session:42 is over 3500:', (await db.ttl('session:42')) > 3500);

// What is asked within one turn of the event loop travels together.
await Promise.all([db.set('planet:1', 'Mercury'), db.set('planet:2', 'Venus')]);
const found = [];
for await (const keys of db.scanIterator({ MATCH: 'planet:*' })) found.push(...keys);
for (const key of found.sort()) console.log('scan  ', key, '=', await db.get(key));

// One step, all or nothing: the keys share a {hash tag}, and so a shard.
await db.mSet({ '{account}:alice': '100', '{account}:bob': '0' });
const [alice, bob] = await db.multi().decrBy('{account}:alice', 30).incrBy('{account}:bob', 30).exec();
console.log('multi  alice, bob =', alice, bob);

await db.close();
