package evaluate

import "github.com/lightning-db/lightning/api"

// Check reports a batch of a client that is malformed or beyond a limit, and otherwise how many bytes
// of keys and values it brings. It does not look at the namespace, of which the caller knows the bounds.
func Check(b *api.Batch) (bytes int, refusal *api.Error) {
	for i := range b.Ops {
		if b.Ops[i].Parts != nil {
			return 0, api.Errorf(api.CodeInvalid, "a client's values are not in parts")
		}
	}
	return check(b, (*api.Op).MayBeStaged)
}

// CheckInParts is Check of a batch whose large values are in parts.
func CheckInParts(b *api.Batch) (bytes int, refusal *api.Error) {
	return check(b, func(*api.Op) bool { return false })
}

// check checks a batch. staged says whose values will go through the log before it.
func check(b *api.Batch, staged func(*api.Op) bool) (bytes int, refusal *api.Error) {
	if len(b.Ops) == 0 {
		return 0, api.Errorf(api.CodeInvalid, "a batch needs at least one operation")
	}
	if len(b.Ops) > api.MaxBatchOps {
		return 0, api.Errorf(api.CodeTooLarge, "a batch of %d operations is over the limit of %d", len(b.Ops), api.MaxBatchOps)
	}
	before := 0 // bytes that come before the batch itself
	for i := range b.Ops {
		op := &b.Ops[i]
		if refusal := checkOp(op); refusal != nil {
			return 0, refusal
		}
		bytes += len(op.Key) + len(op.Source) + len(op.Value)
		if op.Parts != nil {
			bytes += int(op.Parts.Bytes)
			before += int(op.Parts.Bytes)
		} else if staged(op) {
			before += len(op.Value)
		}
	}
	switch {
	case bytes > api.MaxBatchBytes:
		return 0, api.Errorf(api.CodeTooLarge, "a batch of %d bytes is over the limit of %d", bytes, api.MaxBatchBytes)
	case bytes-before > api.MaxInlineBatchBytes:
		return 0, api.Errorf(api.CodeTooLarge, "a batch has %d bytes of keys and of values below %d bytes, over the limit of %d",
			bytes-before, api.MinStagedBytes, api.MaxInlineBatchBytes)
	}
	return bytes, nil
}

// ReadsOnly reports whether a batch can change nothing. Such a batch needs no version and no
// request id: it may run twice.
func ReadsOnly(b *api.Batch) bool {
	for i := range b.Ops {
		if kind := b.Ops[i].Kind; kind != api.OpGet && kind != api.OpCheck {
			return false
		}
	}
	return true
}

func checkOp(op *api.Op) *api.Error {
	if refusal := CheckKey(op.Key); refusal != nil {
		return refusal
	}
	switch {
	case op.Parts != nil && (op.Kind != api.OpPut || len(op.Value) != 0 || op.Parts.Bytes < api.MinStagedBytes):
		return api.Errorf(api.CodeInvalid, "only what a put writes can be in parts, from %d bytes on", api.MinStagedBytes)
	case op.Parts != nil && op.Parts.Bytes > api.MaxValueBytes:
		return api.Errorf(api.CodeTooLarge, "a value of %d bytes is over the limit of %d", op.Parts.Bytes, api.MaxValueBytes)
	case len(op.Value) > api.MaxValueBytes:
		return api.Errorf(api.CodeTooLarge, "a value of %d bytes is over the limit of %d", len(op.Value), api.MaxValueBytes)
	case len(op.Value) > api.MaxWholeBytes && op.Kind != api.OpPut:
		return api.Errorf(api.CodeTooLarge, "%d bytes are over the limit of %d for what changes a value in place", len(op.Value), api.MaxWholeBytes)
	case op.Expiry.Mode > api.ExpiryAfter:
		return api.Errorf(api.CodeInvalid, "expiry mode %d is not known", op.Expiry.Mode)
	case op.Condition.Kind > api.ConditionExpiringSooner:
		return api.Errorf(api.CodeInvalid, "condition %d is not known", op.Condition.Kind)
	}
	switch op.Kind {
	case api.OpPut, api.OpDelete, api.OpIncrement, api.OpGet, api.OpCheck, api.OpAppend, api.OpSetRange, api.OpIncrementFloat:
		return nil
	case api.OpExpire:
		if op.Expiry.Mode == api.ExpiryKeep {
			return api.Errorf(api.CodeInvalid, "an expire operation that keeps the expiry does nothing")
		}
		return nil
	case api.OpSetBit:
		if op.Delta != 0 && op.Delta != 1 {
			return api.Errorf(api.CodeInvalid, "a bit is 0 or 1, not %d", op.Delta)
		}
		return nil
	case api.OpCopy, api.OpRename:
		return CheckKey(op.Source)
	default:
		return api.Errorf(api.CodeInvalid, "operation %d is not known", op.Kind)
	}
}

// CheckKey reports a key that is empty or too long.
func CheckKey(key []byte) *api.Error {
	switch {
	case len(key) == 0:
		return api.Errorf(api.CodeInvalid, "a key needs at least one byte")
	case len(key) > api.MaxKeyBytes:
		return api.Errorf(api.CodeTooLarge, "a key of %d bytes is over the limit of %d", len(key), api.MaxKeyBytes)
	}
	return nil
}
