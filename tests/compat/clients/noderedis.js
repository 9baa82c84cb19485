// node-redis against one node, or in cluster mode. Usage: node noderedis.js node|cluster HOST PORT
import { createClient, createCluster } from 'redis';
import { settings, walk } from './steps.js';

const { mode, host, port, password } = settings();
const client = mode === 'cluster'
  ? createCluster({ rootNodes: [{ socket: { host, port } }], defaults: { password } })
  : createClient({ socket: { host, port }, password });
client.on('error', (err) => { throw err; });
await client.connect();

const send = (key, args) => (mode === 'cluster' ? client.sendCommand(key, false, args) : client.sendCommand(args));

await walk('node-redis', mode, {
  ping: () => (mode === 'cluster' ? send('ping', ['PING']) : client.ping()),
  set: (key, value) => client.set(key, value),
  get: (key) => client.get(key),
  call: (key, ...args) => send(key, args),
  // The client sends what is asked within one turn of the event loop as one pipeline per node.
  pipeline: (commands) => Promise.all(commands.map((args) => send(args[1], args))),
  multi: (commands) => {
    const block = client.multi();
    for (const args of commands) {
      if (mode === 'cluster') block.addCommand(args[1], false, args);
      else block.addCommand(args);
    }
    return block.exec();
  },
});
await client.close();
