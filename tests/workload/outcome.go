package workload

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/tests/history"
)

// Outcome says what is known about a request that ended with err (W1).
func Outcome(err error) history.Outcome {
	var answered *api.Error
	var redisError redis.Error
	switch {
	case err == nil:
		return history.OK
	case errors.Is(err, errNotSent):
		return history.Failed
	case errors.As(err, &answered):
		if api.Row(answered.Code).Outcome == api.NotExecuted {
			return history.Failed
		}
		return history.Unknown
	case errors.As(err, &redisError):
		return redisOutcome(redisError.Error())
	default:
		return history.Unknown
	}
}

// redisOutcome reads the first word of a Redis error, which is all that a Redis client has: the word must
// tell what certainly did not run from what may have. A word that the table gives to both is taken at
// its better meaning, so that a history in which it lied is rejected.
func redisOutcome(text string) history.Outcome {
	word, _, _ := strings.Cut(text, " ")
	for _, row := range api.Table {
		if row.RESP == word && row.Outcome == api.NotExecuted {
			return history.Failed
		}
	}
	return history.Unknown
}
