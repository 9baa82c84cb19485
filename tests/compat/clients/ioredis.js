// ioredis against one node, or in cluster mode. Usage: node ioredis.js node|cluster HOST PORT
import Redis from 'ioredis';
import { settings, walk } from './steps.js';

const { mode, host, port, password } = settings();
const client = mode === 'cluster'
  ? new Redis.Cluster([{ host, port }], { redisOptions: { password } })
  : new Redis({ host, port, password });

const values = (replies) => replies.map(([err, value]) => {
  if (err) throw err;
  return value;
});

await walk('ioredis', mode, {
  ping: () => client.ping(),
  set: (key, value) => client.set(key, value),
  get: (key) => client.get(key),
  call: (_, name, ...args) => client[name.toLowerCase()](...args),
  pipeline: async (commands) => {
    // In cluster mode ioredis wants all keys of a pipeline on one node: one request each, at once.
    if (mode === 'cluster') {
      return Promise.all(commands.map(([name, ...args]) => client[name.toLowerCase()](...args)));
    }
    return values(await client.pipeline(commands.map(([name, ...args]) => [name.toLowerCase(), ...args])).exec());
  },
  multi: async (commands) => values(await client.multi(commands.map(([name, ...args]) => [name.toLowerCase(), ...args])).exec()),
});
await client.quit();
