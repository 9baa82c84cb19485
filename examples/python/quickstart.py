"""The shortest useful Python program for a Lightning cluster, with redis-py.

    lightning-node dev                        # in another terminal
    python3 examples/python/quickstart.py     # [HOST:PORT]

redis-py is Debian's package python3-redis, or "pip install redis". Any node will do: each answers
for every key.
"""

import sys

import redis

host, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:6379").rsplit(":", 1)
db = redis.Redis(host=host, port=int(port), decode_responses=True)

# When set returns, a majority of the key's shard has the write on disk.
db.set("planet:3", "Earth")
print("get    planet:3 =", db.get("planet:3"))

# An hour to live.
db.set("session:42", "alice", ex=3600)
print("ttl    session:42 is over 3500:", db.ttl("session:42") > 3500)

# Many commands, one round trip. They are not one step: each counts for itself.
with db.pipeline(transaction=False) as pipe:
    for number, name in enumerate(["Mercury", "Venus"], start=1):
        pipe.set(f"planet:{number}", name)
    pipe.execute()
for key in sorted(db.scan_iter(match="planet:*")):
    print("scan  ", key, "=", db.get(key))

# One step, all or nothing: the keys share a {hash tag}, and so a shard.
db.mset({"{account}:alice": 100, "{account}:bob": 0})


def pay(pipe):
    balance = int(pipe.get("{account}:alice"))
    pipe.multi()
    pipe.set("{account}:alice", balance - 30)
    pipe.incrby("{account}:bob", 30)


# Runs pay again if the watched key changes before the block is executed.
db.transaction(pay, "{account}:alice")
print("multi  alice, bob =", *db.mget("{account}:alice", "{account}:bob"))
