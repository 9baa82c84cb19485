/* The shortest useful C program for a Lightning cluster, with hiredis.
 *
 *   lightning-node dev                                # in another terminal
 *   cc -o quickstart examples/c/quickstart.c $(pkg-config --cflags --libs hiredis)
 *   ./quickstart                                      # [HOST PORT]
 *
 * hiredis is Debian's package libhiredis-dev. Any node will do: each answers for every key. */
#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static redisContext *db;

static void stop(const char *why) {
	fprintf(stderr, "quickstart: %s\n", why);
	exit(1);
}

/* ask sends one command and returns its reply, which the caller frees. */
static redisReply *ask(const char *format, ...) {
	va_list args;
	va_start(args, format);
	redisReply *reply = redisvCommand(db, format, args);
	va_end(args);
	if (reply == NULL) stop(db->errstr);
	if (reply->type == REDIS_REPLY_ERROR) stop(reply->str);
	return reply;
}

static void run(const char *command) { freeReplyObject(ask(command)); }

int main(int argc, char **argv) {
	db = redisConnect(argc > 2 ? argv[1] : "127.0.0.1", argc > 2 ? atoi(argv[2]) : 6379);
	if (db == NULL || db->err) stop(db != NULL ? db->errstr : "no memory");

	/* When the reply is there, a majority of the key's shard has the write on disk. */
	run("SET planet:3 Earth");
	redisReply *reply = ask("GET %s", "planet:3");
	printf("get    planet:3 = %s\n", reply->str);
	freeReplyObject(reply);

	/* An hour to live. %b takes any bytes and their number. */
	freeReplyObject(ask("SET session:42 %b EX 3600", "alice", (size_t)5));
	reply = ask("TTL session:42");
	printf("ttl    session:42 is over 3500: %s\n", reply->integer > 3500 ? "true" : "false");
	freeReplyObject(reply);

	/* Many commands, one round trip. */
	redisAppendCommand(db, "SET planet:1 Mercury");
	redisAppendCommand(db, "SET planet:2 Venus");
	for (int i = 0; i < 2; i++) {
		if (redisGetReply(db, (void **)&reply) != REDIS_OK) stop(db->errstr);
		if (reply->type == REDIS_REPLY_ERROR) stop(reply->str);
		freeReplyObject(reply);
	}
	reply = ask("MGET planet:1 planet:2 planet:3");
	for (size_t i = 0; i < reply->elements; i++) printf("mget   planet:%zu = %s\n", i + 1, reply->element[i]->str);
	freeReplyObject(reply);

	/* One step, all or nothing: the keys share a {hash tag}, and so a shard. */
	run("MSET {account}:alice 100 {account}:bob 0");
	run("MULTI");
	run("DECRBY {account}:alice 30");
	run("INCRBY {account}:bob 30");
	reply = ask("EXEC");
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) stop("EXEC did not answer for two commands");
	printf("multi  alice, bob = %lld %lld\n", reply->element[0]->integer, reply->element[1]->integer);
	freeReplyObject(reply);

	redisFree(db);
	return 0;
}
