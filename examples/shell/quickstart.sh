#!/usr/bin/env bash
# The shortest useful shell script for a Lightning cluster, with redis-cli.
#
#   lightning-node dev                  # in another terminal
#   examples/shell/quickstart.sh        # [HOST PORT]
#
# Any node will do: each answers for every key.
set -euo pipefail

# With -e an error reply is an exit code, which ends the script.
db() { redis-cli -e -h "${host}" -p "${port}" "$@"; }
host=${1:-127.0.0.1} port=${2:-6379}

# When the command ends, a majority of the key's shard has the write on disk.
db SET planet:3 Earth >/dev/null
echo "get    planet:3 = $(db GET planet:3)"

# An hour to live.
db SET session:42 alice EX 3600 >/dev/null
left=$(db TTL session:42)
echo "ttl    session:42 is over 3500: $( ((left > 3500)) && echo true || echo false)"

# A value may come from a file or another program; many commands travel by one connection.
printf Mercury | db -x SET planet:1 >/dev/null
printf 'SET planet:2 Venus\nSET planet:4 Mars\nDEL planet:4\n' | db >/dev/null
db --scan --pattern 'planet:*' | sort | while read -r key; do
	echo "scan   ${key} = $(db GET "${key}")"
done

# One step, all or nothing: the keys share a {hash tag}, and so a shard.
db MSET '{account}:alice' 100 '{account}:bob' 0 >/dev/null
db <<'BLOCK' >/dev/null
MULTI
DECRBY {account}:alice 30
INCRBY {account}:bob 30
EXEC
BLOCK
echo "multi  alice, bob = $(db MGET '{account}:alice' '{account}:bob' | xargs)"
