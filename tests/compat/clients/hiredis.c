/* hiredis. Usage: hiredis node HOST PORT            one node answers for every key
 *                 hiredis moved HOST PORT KEY       prints the error that a GET of the key gets,
 *                                                   or "served"
 * The environment variable LIGHTNING_PASSWORD is the password, if there is one. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static redisContext *c;

static void fail(const char *what, const char *why) {
	fprintf(stderr, "hiredis: %s: %s\n", what, why);
	exit(1);
}

static redisReply *take(const char *what, redisReply *r) {
	if (r == NULL) fail(what, c->errstr);
	return r;
}

static void want_text(const char *what, redisReply *r, int type, const char *text, size_t len) {
	take(what, r);
	if (r->type != type || r->len != len || memcmp(r->str, text, len) != 0)
		fail(what, r->str != NULL ? r->str : "a reply without text");
	freeReplyObject(r);
}

static void want_number(const char *what, redisReply *r, long long least, long long most) {
	take(what, r);
	if (r->type != REDIS_REPLY_INTEGER || r->integer < least || r->integer > most)
		fail(what, r->str != NULL ? r->str : "another number");
	freeReplyObject(r);
}

static void pipeline(void) {
	char text[16];
	for (int i = 0; i < 200; i++) {
		redisAppendCommand(c, "SET hiredis:pipe:%d %d", i, i);
		redisAppendCommand(c, "GET hiredis:pipe:%d", i);
	}
	for (int i = 0; i < 200; i++) {
		redisReply *r = NULL;
		if (redisGetReply(c, (void **)&r) != REDIS_OK) fail("pipeline", c->errstr);
		want_text("SET in a pipeline", r, REDIS_REPLY_STATUS, "OK", 2);
		if (redisGetReply(c, (void **)&r) != REDIS_OK) fail("pipeline", c->errstr);
		snprintf(text, sizeof text, "%d", i);
		want_text("GET in a pipeline", r, REDIS_REPLY_STRING, text, strlen(text));
	}
}

static void expiry(void) {
	want_text("SET PX", redisCommand(c, "SET hiredis:short v PX 100"), REDIS_REPLY_STATUS, "OK", 2);
	for (int i = 0;; i++) {
		redisReply *r = take("GET", redisCommand(c, "GET hiredis:short"));
		int gone = r->type == REDIS_REPLY_NIL;
		freeReplyObject(r);
		if (gone) break;
		if (i == 250) fail("expiry", "a key with 100 ms to live is still there after 5 s");
		usleep(20000);
	}
	want_text("SET EX", redisCommand(c, "SET hiredis:long v EX 1000"), REDIS_REPLY_STATUS, "OK", 2);
	want_number("TTL", redisCommand(c, "TTL hiredis:long"), 990, 1000);
}

static void transaction(void) {
	want_text("MULTI", redisCommand(c, "MULTI"), REDIS_REPLY_STATUS, "OK", 2);
	want_text("SET in a block", redisCommand(c, "SET {hiredis}t 1"), REDIS_REPLY_STATUS, "QUEUED", 6);
	want_text("INCR in a block", redisCommand(c, "INCR {hiredis}t"), REDIS_REPLY_STATUS, "QUEUED", 6);
	redisReply *r = take("EXEC", redisCommand(c, "EXEC"));
	if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 || r->element[1]->integer != 2)
		fail("EXEC", r->str != NULL ? r->str : "other replies");
	freeReplyObject(r);
}

static void moved(const char *key) {
	redisReply *r = take("GET", redisCommand(c, "GET %s", key));
	puts(r->type == REDIS_REPLY_ERROR ? r->str : "served");
	freeReplyObject(r);
}

int main(int argc, char **argv) {
	struct timeval limit = {10, 0};
	const char *password = getenv("LIGHTNING_PASSWORD");
	if (argc < 4) fail("usage", "hiredis node|moved HOST PORT [KEY]");
	c = redisConnectWithTimeout(argv[2], atoi(argv[3]), limit);
	if (c == NULL || c->err) fail("connect", c != NULL ? c->errstr : "no memory");
	redisSetTimeout(c, limit);
	if (password != NULL && *password != '\0')
		want_text("AUTH", redisCommand(c, "AUTH %s", password), REDIS_REPLY_STATUS, "OK", 2);
	if (strcmp(argv[1], "moved") == 0) {
		moved(argv[4]);
		redisFree(c);
		return 0;
	}
	want_text("PING", redisCommand(c, "PING"), REDIS_REPLY_STATUS, "PONG", 4);
	want_text("SET", redisCommand(c, "SET hiredis:a %b", "\0\r\n\xff", (size_t)4), REDIS_REPLY_STATUS, "OK", 2);
	want_text("GET", redisCommand(c, "GET hiredis:a"), REDIS_REPLY_STRING, "\0\r\n\xff", 4);
	pipeline();
	expiry();
	transaction();
	redisFree(c);
	printf("hiredis %d.%d.%d, node: values, pipeline, expiry, multi\n", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
	return 0;
}
