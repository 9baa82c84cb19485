package shard

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/evaluate"
)

// Command is one write as a front end hands it to a shard. The caller must not change the
// bytes it points to until Apply has returned.
type Command struct {
	// Request protects retries; the zero value asks for no protection.
	Request api.RequestID
	// DeadlineMillis is in shard time, milliseconds since the Unix epoch: a command that comes
	// to be applied later is refused. 0 means none.
	DeadlineMillis uint64
	// Epoch is the epoch of the shard's arc by which the command was routed.
	Epoch api.Epoch
	// Batch is what to do. Its Request is not used.
	Batch api.Batch
	// Stage, if set, is done instead: it brings a part of a value for the batch that will come under
	// the same request id, or takes all of them back.
	Stage *Stage
}

// opcode says what a command in an entry is. The numbers are part of the entry format.
type opcode uint8

const (
	opWrite     opcode = 1 // a Command
	opTick      opcode = 2 // moves shard time and cleans up
	opConfigure opcode = 3 // gives a fresh shard its arc
	opStage     opcode = 4 // a Command that stages
	opSplit     opcode = 5 // gives a part of the arc to a new shard
)

// evaluation is the version of a command's meaning, limits included. Any change of what apply
// makes of a command is a new number, gated by the cluster version.
type evaluation uint8

const (
	evaluateWrite     evaluation = 1
	evaluateTick      evaluation = 1
	evaluateConfigure evaluation = 1
	evaluateStage     evaluation = 1
	evaluateSplit     evaluation = 1
)

// UnknownCommandError says that an entry holds a command that this build cannot evaluate. The
// replica stops, because skipping it would make it differ from the others.
type UnknownCommandError struct {
	Opcode     uint8
	Evaluation uint8
}

// Error implements error.
func (e *UnknownCommandError) Error() string {
	return fmt.Sprintf("command with opcode %d and evaluation version %d is not known to this build: run a newer one on this node", e.Opcode, e.Evaluation)
}

// Flags of a write and of an operation. Bits without a name must be zero.
const (
	writeHasRequest  = 1 << 0
	writeHasDeadline = 1 << 1
	writeIndependent = 1 << 2

	opReturnPrevious = 1 << 0
	opJoined         = 1 << 1
	opBlind          = 1 << 2
	opInParts        = 1 << 3
)

// minOpBytes is the shortest encoding of an operation: kind, flags, expiry mode, condition,
// and the length of an empty key.
const minOpBytes = 5

// Validate reports why a command can never be applied. Apply checks the same again, because
// what is checked only before the proposal does not hold in the log.
func (c *Command) Validate() error {
	if refusal := checkRequest(c.Request); refusal != nil {
		return refusal
	}
	if c.Stage != nil {
		if refusal := c.checkStage(); refusal != nil {
			return refusal
		}
		return nil
	}
	if _, refusal := evaluate.CheckInParts(&c.Batch); refusal != nil {
		return refusal
	}
	return nil
}

func checkOp(op *api.Op) *api.Error { return evaluate.CheckKey(op.Key) }

func checkRequest(r api.RequestID) *api.Error {
	if r.IsZero() {
		if r != (api.RequestID{}) {
			return api.Errorf(api.CodeInvalid, "a request id needs a sequence from 1 on")
		}
		return nil
	}
	if r.Floor > r.Sequence {
		return api.Errorf(api.CodeInvalid, "request sequence %d is below its own floor %d", r.Sequence, r.Floor)
	}
	return nil
}

// EncodeCommand encodes a valid command as entries hold it (docs/formats/entry.md).
func EncodeCommand(c Command) []byte {
	return AppendCommand(make([]byte, 0, commandSize(&c)), &c)
}

// AppendCommand is EncodeCommand into a buffer.
func AppendCommand(dst []byte, c *Command) []byte {
	if c.Stage != nil {
		return appendStage(append(dst, byte(opStage), byte(evaluateStage)), c)
	}
	return appendWrite(append(dst, byte(opWrite), byte(evaluateWrite)), c)
}

// commandSize is an upper bound of what EncodeCommand writes.
func commandSize(c *Command) int {
	const header, perOp = 64, 64
	n := header
	if c.Stage != nil {
		return n + len(c.Stage.Key) + len(c.Stage.Part)
	}
	for i := range c.Batch.Ops {
		op := &c.Batch.Ops[i]
		n += perOp + len(op.Key) + len(op.Source) + len(op.Value)
	}
	return n
}

func appendWrite(dst []byte, c *Command) []byte {
	flags := byte(0)
	if !c.Request.IsZero() {
		flags |= writeHasRequest
	}
	if c.DeadlineMillis != 0 {
		flags |= writeHasDeadline
	}
	if c.Batch.Independent {
		flags |= writeIndependent
	}
	dst = append(dst, flags)
	if flags&writeHasRequest != 0 {
		dst = binary.AppendUvarint(dst, c.Request.Session.CreatedMillis)
		dst = binary.BigEndian.AppendUint64(dst, c.Request.Session.Random)
		dst = binary.AppendUvarint(dst, c.Request.Sequence)
		dst = binary.AppendUvarint(dst, c.Request.Floor)
	}
	if flags&writeHasDeadline != 0 {
		dst = binary.AppendUvarint(dst, c.DeadlineMillis)
	}
	dst = binary.AppendUvarint(dst, uint64(c.Epoch))
	dst = binary.AppendUvarint(dst, uint64(c.Batch.Namespace))
	dst = binary.AppendUvarint(dst, uint64(len(c.Batch.Ops)))
	for i := range c.Batch.Ops {
		dst = appendOp(dst, &c.Batch.Ops[i])
	}
	return dst
}

func appendOp(dst []byte, op *api.Op) []byte {
	flags := byte(0)
	if op.ReturnPrevious {
		flags |= opReturnPrevious
	}
	if op.Joined {
		flags |= opJoined
	}
	if op.Blind {
		flags |= opBlind
	}
	if op.Parts != nil {
		flags |= opInParts
	}
	dst = append(dst, byte(op.Kind), flags, byte(op.Expiry.Mode))
	if hasMillis(op.Expiry.Mode) {
		dst = binary.AppendUvarint(dst, op.Expiry.Millis)
	}
	dst = append(dst, byte(op.Condition.Kind))
	if op.Condition.Kind == api.ConditionVersion {
		dst = binary.AppendUvarint(dst, uint64(op.Condition.Version))
	}
	dst = appendBytes(dst, op.Key)
	if op.Parts != nil {
		return appendParts(dst, op.Parts)
	}
	switch op.Kind {
	case api.OpPut, api.OpAppend, api.OpIncrementFloat:
		dst = appendBytes(dst, op.Value)
	case api.OpIncrement:
		dst = binary.AppendVarint(dst, op.Delta)
	case api.OpSetRange:
		dst = appendBytes(binary.AppendUvarint(dst, op.Offset), op.Value)
	case api.OpSetBit:
		dst = binary.AppendVarint(binary.AppendUvarint(dst, op.Offset), op.Delta)
	case api.OpCopy, api.OpRename:
		dst = appendBytes(dst, op.Source)
	}
	return dst
}

func hasMillis(m api.ExpiryMode) bool { return m == api.ExpiryAt || m == api.ExpiryAfter }

// DecodeCommand decodes what EncodeCommand wrote. The result aliases data. It refuses what no
// encoder writes, but not what is merely beyond a limit: that is for Validate.
func DecodeCommand(data []byte) (Command, error) {
	d, err := decodeCommand(data)
	if err != nil {
		return Command{}, err
	}
	if d.opcode != opWrite && d.opcode != opStage {
		return Command{}, fmt.Errorf("decode command: opcode %d is not a write", d.opcode)
	}
	return d.write, nil
}

// decoded is a command of an entry; the field that opcode names is set.
type decoded struct {
	opcode    opcode
	write     Command
	configure configuration
	split     *Split
}

// configuration is what a configure command sets.
type configuration struct {
	shard api.ShardID
	start uint32
	end   uint32
	epoch api.Epoch
	// retentionMillis is how long old versions are kept.
	retentionMillis uint64
}

func decodeCommand(data []byte) (decoded, error) { return decodeCommandInto(data, nil) }

// decodeCommandInto is decodeCommand with memory for the operations.
func decodeCommandInto(data []byte, ops []api.Op) (decoded, error) {
	r := byteReader{rest: data}
	code, version := opcode(r.byte()), evaluation(r.byte())
	if r.bad {
		return decoded{}, fmt.Errorf("decode command: %w", errMalformed)
	}
	d := decoded{opcode: code}
	d.write.Batch.Ops = ops
	var err error
	switch {
	case code == opWrite && version == evaluateWrite:
		err = readWrite(&r, &d.write)
	case code == opStage && version == evaluateStage:
		err = readStage(&r, &d.write)
	case code == opTick && version == evaluateTick:
	case code == opConfigure && version == evaluateConfigure:
		d.configure = readConfigure(&r)
	case code == opSplit && version == evaluateSplit:
		d.split = readSplit(&r)
	default:
		err = &UnknownCommandError{Opcode: uint8(code), Evaluation: uint8(version)}
	}
	if err == nil {
		err = r.done()
	}
	if err != nil {
		return decoded{}, fmt.Errorf("decode command: %w", err)
	}
	return d, nil
}

// readWrite reads a command, which is empty but for the memory of its operations.
func readWrite(r *byteReader, c *Command) error {
	flags := r.byte()
	if flags&^(writeHasRequest|writeHasDeadline|writeIndependent) != 0 {
		return errMalformed
	}
	c.Batch.Independent = flags&writeIndependent != 0
	if flags&writeHasRequest != 0 {
		c.Request.Session.CreatedMillis = r.uvarint()
		c.Request.Session.Random = r.uint64()
		c.Request.Sequence = r.uvarint()
		c.Request.Floor = r.uvarint()
		if c.Request.IsZero() {
			return errMalformed
		}
	}
	if flags&writeHasDeadline != 0 {
		if c.DeadlineMillis = r.uvarint(); c.DeadlineMillis == 0 {
			return errMalformed
		}
	}
	c.Epoch = api.Epoch(r.uvarint())
	ns := r.uvarint()
	if ns > uint64(^uint32(0)) {
		return errMalformed
	}
	c.Batch.Namespace = api.Namespace(ns)
	count := r.count(api.MaxBatchOps, minOpBytes)
	if r.bad {
		return errMalformed
	}
	c.Batch.Ops = slices.Grow(c.Batch.Ops, count)[:count]
	clear(c.Batch.Ops)
	for i := range c.Batch.Ops {
		readOp(r, &c.Batch.Ops[i])
		if r.bad {
			return errMalformed
		}
	}
	return nil
}

func readOp(r *byteReader, op *api.Op) {
	op.Kind = api.OpKind(r.byte())
	flags := r.byte()
	if flags&^(opReturnPrevious|opJoined|opBlind|opInParts) != 0 || flags&opInParts != 0 && op.Kind != api.OpPut {
		r.fail()
	}
	op.ReturnPrevious, op.Joined, op.Blind = flags&opReturnPrevious != 0, flags&opJoined != 0, flags&opBlind != 0
	if op.Expiry.Mode = api.ExpiryMode(r.byte()); op.Expiry.Mode > api.ExpiryAfter {
		r.fail()
	}
	if hasMillis(op.Expiry.Mode) {
		op.Expiry.Millis = r.uvarint()
	}
	if op.Condition.Kind = api.ConditionKind(r.byte()); op.Condition.Kind > api.ConditionExpiringSooner {
		r.fail()
	}
	if op.Condition.Kind == api.ConditionVersion {
		op.Condition.Version = api.Version(r.uvarint())
	}
	op.Key = r.bytes()
	if flags&opInParts != 0 {
		op.Parts = readParts(r)
		return
	}
	switch op.Kind {
	case api.OpPut, api.OpAppend, api.OpIncrementFloat:
		op.Value = r.bytes()
	case api.OpIncrement:
		op.Delta = r.varint()
	case api.OpSetRange:
		op.Offset = r.uvarint()
		op.Value = r.bytes()
	case api.OpSetBit:
		op.Offset = r.uvarint()
		op.Delta = r.varint()
	case api.OpCopy, api.OpRename:
		op.Source = r.bytes()
	case api.OpDelete, api.OpExpire, api.OpGet, api.OpCheck:
	default:
		r.fail()
	}
}

// tickBytes is the length of a tick.
const tickBytes = 2

func appendTick(dst []byte) []byte { return append(dst, byte(opTick), byte(evaluateTick)) }

func encodeTick() []byte { return appendTick(nil) }

func encodeConfigure(c configuration) []byte {
	dst := []byte{byte(opConfigure), byte(evaluateConfigure)}
	dst = binary.AppendUvarint(dst, uint64(c.shard))
	dst = binary.AppendUvarint(dst, uint64(c.start))
	dst = binary.AppendUvarint(dst, uint64(c.end))
	dst = binary.AppendUvarint(dst, uint64(c.epoch))
	return binary.AppendUvarint(dst, c.retentionMillis)
}

func readConfigure(r *byteReader) configuration {
	c := configuration{shard: api.ShardID(r.uvarint())}
	start, end := r.uvarint(), r.uvarint()
	if start >= end || end > api.SlotCount {
		r.fail()
	}
	c.start, c.end = uint32(start), uint32(end)
	c.epoch = api.Epoch(r.uvarint())
	c.retentionMillis = r.uvarint()
	return c
}
