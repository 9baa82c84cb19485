package raft

import "reflect"

// abandonable lets Error of one of hashicorp/raft's futures return when stopped closes. The
// library never completes the futures that were on their way inside it when it shut down, and
// a goroutine that waits for one would stay for ever. The futures carry a channel for just
// that, ShutdownCh, which the library sets on some of them and not on these. It must be called
// before Error, from the goroutine that calls Error. It reports whether the channel was set; a
// future that is complete already has none and needs none.
func abandonable(future any, stopped chan struct{}) bool {
	v := reflect.ValueOf(future)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return false
	}
	field := v.Elem().FieldByName("ShutdownCh")
	if !field.IsValid() || !field.CanSet() || field.Type() != reflect.TypeOf(stopped) {
		return false
	}
	field.Set(reflect.ValueOf(stopped))
	return true
}
