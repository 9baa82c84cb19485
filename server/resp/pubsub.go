package resp

import (
	"context"
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

func pubsubCommands() []*command {
	flags := []string{"pubsub", "noscript", "loading", "stale"}
	categories := []string{"@pubsub", "@slow"}
	const silent = "no message ever comes: PUBLISH is refused"
	const refused = "messages are not delivered, and to say that nobody listens would hide it"
	channel := positions{1, -1, 1}
	return []*command{
		{name: "subscribe", arity: -2, flags: flags, categories: categories, group: "pubsub", since: "2.0.0", summary: "subscribes to channels", differs: silent, run: onSubscribe("subscribe", toChannel), queued: true},
		{name: "unsubscribe", arity: -1, flags: flags, categories: categories, group: "pubsub", since: "2.0.0", summary: "ends subscriptions to channels", run: onUnsubscribe("unsubscribe", toChannel), queued: true},
		{name: "psubscribe", arity: -2, flags: flags, categories: categories, group: "pubsub", since: "2.0.0", summary: "subscribes to patterns of channels", differs: silent, run: onSubscribe("psubscribe", toPattern), queued: true},
		{name: "punsubscribe", arity: -1, flags: flags, categories: categories, group: "pubsub", since: "2.0.0", summary: "ends subscriptions to patterns", run: onUnsubscribe("punsubscribe", toPattern), queued: true},
		{name: "ssubscribe", arity: -2, flags: flags, positions: channel, categories: categories, group: "pubsub", since: "7.0.0", summary: "subscribes to channels of a slot", differs: silent, run: onSubscribe("ssubscribe", toShard), queued: true},
		{name: "sunsubscribe", arity: -1, flags: flags, positions: channel, categories: categories, group: "pubsub", since: "7.0.0", summary: "ends subscriptions to channels of a slot", run: onUnsubscribe("sunsubscribe", toShard), queued: true},
		{name: "publish", arity: 3, flags: []string{"pubsub", "loading", "stale", "fast"}, categories: []string{"@pubsub", "@fast"}, group: "pubsub", since: "2.0.0", summary: "refused", differs: refused, run: onPublish, queued: true},
		{name: "spublish", arity: 3, flags: []string{"pubsub", "loading", "stale", "fast"}, positions: positions{1, 1, 1}, categories: []string{"@pubsub", "@fast"}, group: "pubsub", since: "7.0.0", summary: "refused", differs: refused, run: onPublish, queued: true},
		container(command{name: "pubsub", arity: -2, categories: []string{"@slow"}, group: "pubsub", since: "2.8.0", summary: "refused, but for HELP", differs: refused},
			pubsubRow("channels", -2), pubsubRow("numsub", -2), pubsubRow("numpat", 2), pubsubRow("shardchannels", -2), pubsubRow("shardnumsub", -2)),
	}
}

func pubsubRow(name string, arity int) *command {
	return &command{name: name, arity: arity, flags: []string{"pubsub", "loading", "stale"}, categories: []string{"@pubsub", "@slow"}, since: "2.8.0", summary: "refused", run: onPublish, queued: true}
}

// runsSubscribed are the commands that a RESP2 connection with subscriptions may send.
var runsSubscribed = map[string]bool{
	"subscribe": true, "unsubscribe": true, "psubscribe": true, "punsubscribe": true, "ssubscribe": true, "sunsubscribe": true,
	"ping": true, "quit": true, "reset": true,
}

// kind says what a subscription is to.
type kind uint8

const (
	toChannel kind = iota
	toPattern
	toShard
	kindCount
)

// subscriptions are a connection's, in the order in which it made them.
type subscriptions struct {
	names [kindCount][]string
	bytes int
}

// Bounds of what a connection can make us keep by subscribing.
const (
	maxSubscriptions     = 1024
	maxSubscriptionBytes = 64 << 10
)

func (s *subscriptions) count() int {
	return len(s.names[toChannel]) + len(s.names[toPattern]) + len(s.names[toShard])
}

// countOf is what a reply counts: shard channels for themselves, the other two together.
func (s *subscriptions) countOf(k kind) int64 {
	if k == toShard {
		return int64(len(s.names[toShard]))
	}
	return int64(len(s.names[toChannel]) + len(s.names[toPattern]))
}

func (s *subscriptions) add(k kind, name string) {
	if !slices.Contains(s.names[k], name) {
		s.names[k] = append(s.names[k], name)
		s.bytes += len(name)
	}
}

func (s *subscriptions) remove(k kind, name string) {
	if i := slices.Index(s.names[k], name); i >= 0 {
		s.names[k] = slices.Delete(s.names[k], i, i+1)
		s.bytes -= len(name)
	}
}

func onSubscribe(verb string, k kind) func(context.Context, *conn, [][]byte) error {
	return func(_ context.Context, c *conn, args [][]byte) error {
		bytes := c.subscribed.bytes
		for _, name := range args[1:] {
			bytes += len(name)
		}
		if c.subscribed.count()+len(args)-1 > maxSubscriptions || bytes > maxSubscriptionBytes {
			return api.Errorf(api.CodeTooLarge, "more than %d subscriptions or %d bytes of names are over the limit of a connection", maxSubscriptions, maxSubscriptionBytes)
		}
		for _, name := range args[1:] {
			c.subscribed.add(k, string(name))
			c.subscriptionReply(verb, name, c.subscribed.countOf(k))
		}
		return nil
	}
}

// onUnsubscribe without names ends all subscriptions of its kind.
func onUnsubscribe(verb string, k kind) func(context.Context, *conn, [][]byte) error {
	return func(_ context.Context, c *conn, args [][]byte) error {
		names := args[1:]
		if len(names) == 0 {
			for _, name := range c.subscribed.names[k] {
				names = append(names, []byte(name))
			}
		}
		if len(names) == 0 {
			c.subscriptionReply(verb, nil, c.subscribed.countOf(k))
		}
		for _, name := range names {
			c.subscribed.remove(k, string(name))
			c.subscriptionReply(verb, name, c.subscribed.countOf(k))
		}
		return nil
	}
}

// subscriptionReply confirms one change; name is nil when there was nothing to end.
func (c *conn) subscriptionReply(verb string, name []byte, count int64) {
	c.out.Push(3)
	c.out.BulkString(verb)
	if name == nil {
		c.out.Null()
	} else {
		c.out.Bulk(name)
	}
	c.out.Integer(count)
}

func onPublish(context.Context, *conn, [][]byte) error {
	return wire.Error("ERR messages are not supported: subscriptions are accepted and nothing is delivered")
}
