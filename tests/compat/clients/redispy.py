"""redis-py against one node, or in cluster mode. Usage: redispy.py node|cluster HOST PORT

The environment variable LIGHTNING_PASSWORD is the password, if there is one. Prints what was done;
ends with an exception and code 1 at the first wrong answer.
"""

import os
import sys
import time

import redis
from redis.cluster import RedisCluster


def check(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def wait_until_gone(r, key, seconds):
    deadline = time.monotonic() + seconds
    while r.get(key) is not None:
        if time.monotonic() > deadline:
            raise AssertionError(f"{key} is still there after {seconds} s")
        time.sleep(0.02)


def values(r):
    binary = bytes(range(256))
    check("PING", r.ping(), True)
    check("SET", r.set("redispy:a", binary), True)
    check("GET", r.get("redispy:a"), binary)
    check("GET of no key", r.get("redispy:absent"), None)
    check("SET NX", r.set("redispy:a", b"x", nx=True), None)
    check("INCR", r.delete("redispy:n") >= 0 and r.incr("redispy:n", 5), 5)
    check("MGET", r.mget("{redispy}1", "{redispy}2"), [None, None])
    check("MSET", r.mset({"{redispy}1": b"1", "{redispy}2": b"2"}), True)
    check("MGET after MSET", r.mget("{redispy}1", "{redispy}2"), [b"1", b"2"])
    check("DEL", r.delete("{redispy}1", "{redispy}2"), 2)


def pipeline(r):
    keys = [f"redispy:pipe:{i}" for i in range(200)]
    pipe = r.pipeline(transaction=False) if not isinstance(r, RedisCluster) else r.pipeline()
    for i, key in enumerate(keys):
        pipe.set(key, i)
        pipe.get(key)
    replies = pipe.execute()
    check("pipeline", replies, [x for i in range(200) for x in (True, str(i).encode())])


def expiry(r):
    check("SET PX", r.set("redispy:short", b"v", px=100), True)
    wait_until_gone(r, "redispy:short", 5)
    r.set("redispy:long", b"v", ex=1000)
    check("TTL", 990 <= r.ttl("redispy:long") <= 1000, True)
    check("PERSIST", r.persist("redispy:long"), True)
    check("TTL after PERSIST", r.ttl("redispy:long"), -1)


def transactions(r):
    r.set("{redispy}t1", 1)
    with r.pipeline(transaction=True) as pipe:
        pipe.incr("{redispy}t1").get("{redispy}t1").set("{redispy}t2", "x")
        check("MULTI", pipe.execute(), [2, b"2", True])

    def double(pipe):
        seen = int(pipe.get("{redispy}t1"))
        pipe.multi()
        pipe.set("{redispy}t1", seen * 2)

    check("WATCH, MULTI", r.transaction(double, "{redispy}t1"), [True])
    check("GET after EXEC", r.get("{redispy}t1"), b"4")
    with r.pipeline(transaction=True) as pipe:
        pipe.watch("{redispy}t1")
        r.set("{redispy}t1", 9)  # by another connection of the pool
        pipe.multi()
        pipe.set("{redispy}t1", 10)
        try:
            pipe.execute()
            raise AssertionError("a block whose watched key had changed was run")
        except redis.WatchError:
            pass
    check("GET after the refused EXEC", r.get("{redispy}t1"), b"9")


def listing(r):
    for i in range(50):
        r.set(f"redispy:scan:{i}", i)
    check("SCAN", len(set(r.scan_iter(match="redispy:scan:*", count=7))), 50)


def main():
    mode, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    password = os.environ.get("LIGHTNING_PASSWORD")
    kind = RedisCluster if mode == "cluster" else redis.Redis
    r = kind(host=host, port=port, password=password)
    steps = [values, pipeline, expiry, listing] + ([] if mode == "cluster" else [transactions])
    for step in steps:
        step(r)
    if mode == "cluster":
        check("nodes of the cluster", len(r.get_nodes()) >= 3, True)
    r.close()
    print(f"redis-py {redis.__version__}, {mode}: " + ", ".join(s.__name__ for s in steps))


main()
