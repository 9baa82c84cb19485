package shard

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard/parts"
)

// fullCommand uses every field and every kind of operation.
func fullCommand() Command {
	return Command{
		Request: api.RequestID{
			Session:  api.SessionID{CreatedMillis: 1_790_000_000_000, Random: 0x0123456789abcdef},
			Sequence: 300, Floor: 299,
		},
		DeadlineMillis: 1_790_000_005_000,
		Epoch:          7,
		Batch: api.Batch{Namespace: 5, Ops: []api.Op{
			{Kind: api.OpPut, Key: []byte("k"), Value: []byte("value"), Expiry: api.Expiry{Mode: api.ExpiryAt, Millis: 1_790_000_009_000},
				Condition: api.Condition{Kind: api.ConditionVersion, Version: 9}, ReturnPrevious: true},
			{Kind: api.OpDelete, Key: []byte{0, 1}, Condition: api.Condition{Kind: api.ConditionPresent}},
			{Kind: api.OpIncrement, Key: []byte("n"), Delta: -2},
			{Kind: api.OpExpire, Key: []byte("e"), Expiry: api.Expiry{Mode: api.ExpiryAfter, Millis: 128}},
		}},
	}
}

// everyOperation is an independent batch of the operations and conditions that fullCommand does not
// have.
func everyOperation() Command {
	return Command{Epoch: 1, Batch: api.Batch{Independent: true, Ops: []api.Op{
		{Kind: api.OpCheck, Key: []byte("w"), Condition: api.Condition{Kind: api.ConditionVersion}},
		{Kind: api.OpGet, Key: []byte("g"), ReturnPrevious: true},
		{Kind: api.OpAppend, Key: []byte("a"), Value: []byte("xy"), Condition: api.Condition{Kind: api.ConditionPersistent}},
		{Kind: api.OpSetRange, Key: []byte("r"), Offset: 300, Value: []byte("z"), Joined: true},
		{Kind: api.OpSetBit, Key: []byte("b"), Offset: 7, Delta: 1, Condition: api.Condition{Kind: api.ConditionExpiring}},
		{Kind: api.OpIncrementFloat, Key: []byte("f"), Value: []byte("0.5"), Joined: true, ReturnPrevious: true},
		{Kind: api.OpCopy, Key: []byte("c"), Source: []byte("s")},
		{Kind: api.OpRename, Key: []byte("n"), Source: []byte("o"), Condition: api.Condition{Kind: api.ConditionAbsent}},
		{Kind: api.OpExpire, Key: []byte("e"), Expiry: api.Expiry{Mode: api.ExpiryAfter, Millis: 128}, Condition: api.Condition{Kind: api.ConditionExpiringSooner}},
	}}}
}

// everyResult is what an independent batch may come to.
func everyResult() Answer {
	return Answer{Result: api.Result{Applied: true, Version: 300, Ops: []api.OpResult{
		{Applied: true, Existed: true, Previous: []byte("old"), PreviousVersion: 200, PreviousExpiry: 1_790_000_009_000},
		{Applied: true, Number: -3, Text: []byte("1.5")},
		{Code: api.CodeNotFound},
		{Existed: true, PreviousVersion: 200},
	}}}
}

// everyForm is a session with an answer of each form.
func everyForm() *window {
	return &window{floor: 300, lastUsedMillis: 1_790_000_000_000, wholeBytes: 2, kept: []kept{
		{sequence: 300, form: keptAbsent, version: 1 << 20},
		{sequence: 301, form: keptExisted, version: 1<<20 - 5, previous: 1 << 19},
		{sequence: 305, form: keptApart},
		{sequence: 306, form: keptWhole, whole: []byte{1, 2}},
		{sequence: 400, form: keptAbsent, version: 1<<20 + 1},
	}}
}

func exampleSplit() *Split {
	return &Split{Child: 9, At: 8192, Epoch: 3, ChildEpoch: 1, Replicas: []raft.ReplicaID{{Node: "a", Incarnation: 1}, {Node: "b", Incarnation: 2}}}
}

func TestEncodingsAreWhatEarlierBuildsWrote(t *testing.T) {
	minimal := Command{Epoch: 1, Batch: api.Batch{Ops: []api.Op{{Kind: api.OpPut, Key: []byte("k"), Value: []byte{}}}}}
	checkGolden(t, "command-write", EncodeCommand(fullCommand()))
	checkGolden(t, "command-write-minimal", EncodeCommand(minimal))
	checkGolden(t, "command-write-independent", EncodeCommand(everyOperation()))
	checkGolden(t, "command-tick", encodeTick())
	checkGolden(t, "command-configure", encodeConfigure(configuration{shard: 3, start: 5461, end: 10922, epoch: 1, retentionMillis: 10_000}))
	checkGolden(t, "command-split", encodeSplit(exampleSplit()))
	checkGolden(t, "entry", EncodeEntry(Entry{
		Time: api.VersionAt(1_790_000_000_123) + 4, CeilingMillis: 1_790_000_000_623, Run: 0x0102030405060708, Sequence: 9,
		Commands: [][]byte{encodeTick(), EncodeCommand(minimal)},
	}))
	checkGolden(t, "key-data", rows.Key(0x01020304, []byte("a\x00b")))
	checkGolden(t, "key-session", appendSessionKey(nil, api.SessionID{CreatedMillis: 1, Random: 2}))
	checkGolden(t, "key-answer", answerKey(api.SessionID{CreatedMillis: 1, Random: 2}, 3))
	checkGolden(t, "row-value", rows.EncodeValue([]byte("value")))
	checkGolden(t, "row-session", everyForm().append(nil))
	checkGolden(t, "row-state", (&state{
		configured: true, shard: 3, arc: router.Arc{Start: 5461, End: 10922}, epoch: 1, retentionMillis: 10_000,
		last: api.VersionAt(1_790_000_000_123) + 4, term: 5, ceilingMillis: 1_790_000_000_623, earlierCeilingMillis: 1_790_000_000_000,
		lastWrite: api.VersionAt(1_790_000_000_123), latestExpiryMillis: 1_790_000_009_000,
		sessions: 2, sweptMillis: 1_790_000_000_001, sweepFrom: api.SessionID{CreatedMillis: 1, Random: 2},
		run: 77, next: 300, digest: 0x1122334455667788, parts: parts.Counts{Stagings: 1, StagedBytes: 300, Values: 4, Due: 2},
		splitOff: 9, foreign: foreign{from: "\x01\x00\x7f", sweptMillis: 1_790_000_000_001},
	}).append(nil))
	checkGolden(t, "command-stage", EncodeCommand(Command{Request: requestID(3), DeadlineMillis: 1_790_000_000_123, Epoch: 1, Stage: &Stage{
		Key: []byte("k"), Number: 2, Part: []byte("part"),
	}}))
	checkGolden(t, "command-drop", EncodeCommand(Command{Request: requestID(3), Epoch: 1, Stage: &Stage{Key: []byte("k"), Drop: true}}))
	inParts := batch(api.Op{Kind: api.OpPut, Key: []byte("k"), Parts: &api.Parts{First: 1, Count: 2, Bytes: 300_000, Checksum: 0x11223344}})
	inParts.Request = requestID(3)
	checkGolden(t, "command-in-parts", EncodeCommand(inParts))
	checkGolden(t, "row-value-in-parts", rows.AppendParts(nil, &api.Parts{ID: api.VersionAt(1_790_000_000_123), First: 1, Count: 2, Bytes: 300_000, Checksum: 0x11223344}))
	answer, err := encodeAnswer(Answer{Result: api.Result{Applied: true, Version: 300, Ops: []api.OpResult{
		{Applied: true, Existed: true, Previous: []byte("old"), PreviousVersion: 200}, {Applied: true, Number: -3},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	checkGolden(t, "row-answer", answer)
	if answer, err = encodeAnswer(everyResult()); err != nil {
		t.Fatal(err)
	}
	checkGolden(t, "row-answer-independent", answer)
	for number, refusal := range keptRefusals {
		if refusal == nil {
			continue
		}
		if raw, err := encodeAnswer(Answer{Err: refusal}); err != nil || len(raw) != 2 || raw[1] != byte(number) {
			t.Errorf("refusal %d is encoded as %x, %v", number, raw, err)
		}
	}
}

func TestDecodersReadWhatEarlierBuildsWrote(t *testing.T) {
	c, err := DecodeCommand(readGolden(t, "command-write"))
	if err != nil || !reflect.DeepEqual(c, fullCommand()) {
		t.Errorf("command: %+v, %v", c, err)
	}
	e, err := DecodeEntry(readGolden(t, "entry"))
	if err != nil || e.Time.Millis() != 1_790_000_000_123 || e.CeilingMillis != 1_790_000_000_623 || len(e.Commands) != 2 {
		t.Errorf("entry: %+v, %v", e, err)
	}
	d, err := decodeCommand(readGolden(t, "command-configure"))
	if want := (configuration{shard: 3, start: 5461, end: 10922, epoch: 1, retentionMillis: 10_000}); err != nil || d.configure != want {
		t.Errorf("configure: %+v, %v", d, err)
	}
	if d, err = decodeCommand(readGolden(t, "command-split")); err != nil || !reflect.DeepEqual(d.split, exampleSplit()) {
		t.Errorf("split: %+v, %v", d, err)
	}
	s, err := decodeState(readGolden(t, "row-state"))
	if err != nil || !s.configured || s.shard != 3 || s.arc != (router.Arc{Start: 5461, End: 10922}) || s.sessions != 2 || s.sweepFrom.Random != 2 || s.splitOff != 9 || len(s.foreign.from) != 3 {
		t.Errorf("state: %+v, %v", s, err)
	}
	var w window
	if err := decodeWindow(&w, readGolden(t, "row-session")); err != nil || !reflect.DeepEqual(&w, everyForm()) {
		t.Errorf("session: %+v, %v", w, err)
	}
	a, err := decodeAnswer(readGolden(t, "row-answer"))
	if err != nil || !a.Result.Applied || string(a.Result.Ops[0].Previous) != "old" || a.Result.Ops[1].Number != -3 {
		t.Errorf("answer: %+v, %v", a, err)
	}
	if !a.Result.Ops[0].Applied || !a.Result.Ops[1].Applied {
		t.Errorf("an answer of a build that knew no independent batches: %+v", a)
	}
	if c, err := DecodeCommand(readGolden(t, "command-write-independent")); err != nil || !reflect.DeepEqual(c, everyOperation()) {
		t.Errorf("command: %+v, %v", c, err)
	}
	if a, err := decodeAnswer(readGolden(t, "row-answer-independent")); err != nil || !reflect.DeepEqual(a, everyResult()) {
		t.Errorf("answer: %+v, %v", a, err)
	}
}

// Numbers in answer rows live in data directories: they are never given another meaning.
func TestRefusalsKeepTheirNumbers(t *testing.T) {
	want := []api.Code{
		"", api.CodeNotInteger, api.CodeTooLarge, api.CodeOverflow, api.CodeNotFloat, api.CodeNotFound, api.CodeTooLarge, api.CodeOverflow,
	}
	if len(keptRefusals) != len(want) {
		t.Fatalf("%d refusals, %d are tested", len(keptRefusals), len(want))
	}
	for number, refusal := range keptRefusals[1:] {
		if refusal.Code != want[number+1] {
			t.Errorf("refusal %d is %s, was %s", number+1, refusal.Code, want[number+1])
		}
		a, err := decodeAnswer([]byte{answerFormat, byte(number + 1)})
		if err != nil || a.Err != refusal {
			t.Errorf("refusal %d comes back as %v, %v", number+1, a.Err, err)
		}
	}
}

func TestAnswersThatNoEncoderWritesAreRefused(t *testing.T) {
	for name, raw := range map[string][]byte{
		"an unknown refusal":          {1, 8},
		"an unknown flag":             {1, 0, 1, 0, 1, 1, 0x40, 0, 0},
		"failed in a failed batch":    {1, 0, 0, 0, 1, 1, 4, 0, 0},
		"an unknown code":             {1, 0, 1, 0, 1, 1, 8, 0, 0, 8},
		"a code of 0":                 {1, 0, 1, 0, 1, 1, 8, 0, 0, 0},
		"the second number of a code": {1, 0, 1, 0, 1, 1, 8, 0, 0, 6},
		"an expiry of 0":              {1, 0, 1, 0, 1, 1, 16, 0, 0, 0},
		"a text that is longer":       {1, 0, 1, 0, 1, 1, 32, 0, 0, 3, '1'},
	} {
		if a, err := decodeAnswer(raw); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

// randomCommand makes commands that Validate accepts, large ones rarely.
func randomCommand(rng *rand.Rand) Command {
	c := Command{Epoch: api.Epoch(rng.Uint64N(1 << 20)), Batch: api.Batch{Namespace: api.Namespace(rng.Uint32())}}
	if rng.IntN(2) == 0 {
		c.DeadlineMillis = rng.Uint64()
	}
	if rng.IntN(2) == 0 {
		c.Request = api.RequestID{Session: api.SessionID{CreatedMillis: rng.Uint64(), Random: rng.Uint64()}, Sequence: 1 + rng.Uint64N(1<<40)}
		c.Request.Floor = c.Request.Sequence - min(c.Request.Sequence, rng.Uint64N(2000))
	}
	c.Batch.Independent = rng.IntN(2) == 0
	for range 1 + rng.IntN(5) {
		c.Batch.Ops = append(c.Batch.Ops, randomFields(rng))
	}
	return c
}

// randomFields makes an operation with random bits in every field that its kind has.
func randomFields(rng *rand.Rand) api.Op {
	op := api.Op{
		Kind: api.OpKind(1 + rng.IntN(int(api.OpRename))), Key: randomBytes(rng, 1, 30), ReturnPrevious: rng.IntN(2) == 0, Joined: rng.IntN(2) == 0,
		Condition: api.Condition{Kind: api.ConditionKind(rng.IntN(int(api.ConditionExpiringSooner) + 1))},
		Expiry:    api.Expiry{Mode: api.ExpiryMode(rng.IntN(4))},
	}
	if op.Kind == api.OpExpire && op.Expiry.Mode == api.ExpiryKeep {
		op.Expiry.Mode = api.ExpiryNone
	}
	if hasMillis(op.Expiry.Mode) {
		op.Expiry.Millis = rng.Uint64()
	}
	if op.Condition.Kind == api.ConditionVersion {
		op.Condition.Version = api.Version(rng.Uint64())
	}
	switch op.Kind {
	case api.OpPut, api.OpAppend, api.OpIncrementFloat:
		op.Value = randomBytes(rng, 0, 300)
	case api.OpIncrement:
		op.Delta = int64(rng.Uint64())
	case api.OpSetRange:
		op.Offset, op.Value = rng.Uint64(), randomBytes(rng, 0, 300)
	case api.OpSetBit:
		op.Offset, op.Delta = rng.Uint64(), rng.Int64N(2)
	case api.OpCopy, api.OpRename:
		op.Source = randomBytes(rng, 1, 30)
	}
	return op
}

func randomBytes(rng *rand.Rand, least, most int) []byte {
	b := make([]byte, least+rng.IntN(most-least+1))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// What Validate accepts must be decodable: an entry that is not stops every replica.
func TestEveryValidCommandSurvivesItsEncoding(t *testing.T) {
	rng := testkit.Rand(t)
	for range 2000 {
		c := randomCommand(rng)
		if err := c.Validate(); err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		raw := EncodeCommand(c)
		if len(raw) > commandSize(&c) {
			t.Fatalf("%d bytes were estimated, %d written", commandSize(&c), len(raw))
		}
		got, err := DecodeCommand(raw)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("%+v came back as %+v, %v", c, got, err)
		}
	}
}

func TestTheLargestCommandsFitIntoAnEntry(t *testing.T) {
	value := Command{Epoch: 1, Batch: api.Batch{Ops: []api.Op{{Kind: api.OpPut, Key: make([]byte, api.MaxKeyBytes), Value: make([]byte, api.MaxWholeBytes)}}}}
	if err := value.Validate(); err != nil {
		t.Fatal(err)
	}
	raw := EncodeCommand(value)
	if len(raw) > maxCommandBytes {
		t.Fatalf("a value of the largest size takes %d bytes, above %d", len(raw), maxCommandBytes)
	}
	if _, err := DecodeEntry(EncodeEntry(Entry{Time: 1, Commands: [][]byte{raw}})); err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeEntry(EncodeEntry(Entry{Time: 1, Commands: [][]byte{make([]byte, maxCommandBytes)}})); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedEntriesAreRefused(t *testing.T) {
	good := EncodeEntry(Entry{Time: 1 << 20, CeilingMillis: 7, Run: 8, Sequence: 9, Commands: [][]byte{encodeTick(), EncodeCommand(fullCommand())}})
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if _, err := DecodeEntry(bad); !errors.Is(err, ErrCorruptEntry) {
				t.Fatalf("bit %d of byte %d flipped: %v", bit, i, err)
			}
		}
	}
	for n := range good {
		if _, err := DecodeEntry(good[:n]); !errors.Is(err, ErrCorruptEntry) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestUnknownCommandsAreNamed(t *testing.T) {
	for _, raw := range [][]byte{{9, 1}, {1, 2}, {2, 0}, {3, 2, 1}} {
		_, err := decodeCommand(raw)
		var unknown *UnknownCommandError
		if !errors.As(err, &unknown) || unknown.Opcode != raw[0] || unknown.Evaluation != raw[1] {
			t.Errorf("%x: %v", raw, err)
		}
	}
}

func TestDecodersRefuseWhatNoEncoderWrites(t *testing.T) {
	write := EncodeCommand(fullCommand())
	for name, raw := range map[string][]byte{
		"nothing":              {},
		"an opcode alone":      {1},
		"trailing bytes":       append(bytes.Clone(write), 0),
		"trailing after tick":  {2, 1, 0},
		"an unknown flag":      {1, 1, 8, 1, 0, 0},
		"a long uvarint":       {1, 1, 0, 0x81, 0x00, 0, 0},
		"a uvarint over 64":    {1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0},
		"a large namespace":    {1, 1, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x10, 0},
		"more ops than bytes":  {1, 1, 0, 1, 0, 0xff, 0xff, 0x03},
		"a key that is longer": {1, 1, 0, 1, 0, 1, 2, 0, 0, 0, 9, 'k'},
		"an unknown kind":      {1, 1, 0, 1, 0, 1, 13, 0, 0, 0, 1, 'k'},
		"an unknown op flag":   {1, 1, 0, 1, 0, 1, 2, 8, 0, 0, 1, 'k'},
		"an unknown guard":     {1, 1, 0, 1, 0, 1, 2, 0, 0, 9, 1, 'k'},
		"an offset cut off":    {1, 1, 0, 1, 0, 1, 8, 0, 0, 0, 1, 'k', 0x80},
		"a source cut off":     {1, 1, 0, 1, 0, 1, 11, 0, 0, 0, 1, 'k', 2, 's'},
		"a deadline of 0":      {1, 1, 2, 0, 1, 0, 0},
		"an arc turned round":  {3, 1, 3, 9, 8, 1, 1},
	} {
		if _, err := decodeCommand(raw); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := DecodeCommand(encodeTick()); err == nil {
		t.Error("a tick was decoded as a write")
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte{})
	f.Add(readGolden(f, "entry"))
	f.Add(EncodeEntry(Entry{Time: 1, Commands: [][]byte{EncodeCommand(fullCommand()), encodeTick()}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEntry(data)
		if err != nil {
			return
		}
		if again := EncodeEntry(e); !bytes.Equal(again, data) {
			t.Fatalf("%x was decoded, and encodes to %x", data, again)
		}
	})
}

func FuzzDecodeCommand(f *testing.F) {
	for _, name := range []string{"command-write", "command-write-minimal", "command-write-independent", "command-tick", "command-configure"} {
		f.Add(readGolden(f, name))
	}
	value := largeValue(1, api.MinStagedBytes)
	stages, final := stagedPut(startMillis, requestID(3), "k", value, api.Expiry{})
	stages[0].Stage.Part = stages[0].Stage.Part[:100] // mutations of a short one reach more
	drop := stages[0]
	drop.Stage = &Stage{Key: []byte("k"), Drop: true}
	for _, c := range []Command{stages[0], drop, final} {
		f.Add(EncodeCommand(c))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := decodeCommand(data)
		if err != nil {
			return
		}
		var again []byte
		switch d.opcode {
		case opWrite, opStage:
			again = EncodeCommand(d.write)
			_ = d.write.Validate()
		case opTick:
			again = encodeTick()
		case opConfigure:
			again = encodeConfigure(d.configure)
		}
		if !bytes.Equal(again, data) {
			t.Fatalf("%x was decoded, and encodes to %x", data, again)
		}
	})
}

func FuzzDecodeRows(f *testing.F) {
	for _, name := range []string{"key-data", "key-session", "row-value", "row-session", "row-state", "row-answer", "row-answer-independent"} {
		f.Add(readGolden(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if ns, key, err := rows.DecodeKey(nil, data); err == nil && !bytes.Equal(rows.Key(ns, key), data) {
			t.Fatalf("key %x does not come back", data)
		}
		if s, err := decodeState(data); err == nil && !bytes.Equal(s.append(nil), data) {
			t.Fatalf("state %x does not come back", data)
		}
		if w := new(window); decodeWindow(w, data) == nil && !bytes.Equal(w.append(nil), data) {
			t.Fatalf("session %x does not come back", data)
		}
		if a, err := decodeAnswer(data); err == nil {
			if again, err := encodeAnswer(a); err != nil || !bytes.Equal(again, data) {
				t.Fatalf("answer %x comes back as %x, %v", data, again, err)
			}
		}
		_, _ = rows.DecodeValue(data)
		_, _, _ = sessionOfKey(data)
	})
}
