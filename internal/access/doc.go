// Package access checks the passwords of clients: those of a file, one per line, all of them of the
// user "default". It slows down who guesses.
//
// It is not a list of users with rights: whoever knows a password may do everything that a client may.
//
// # The life of an attempt
//
//  1. Check looks whether the source has guessed too often of late; if so the attempt is refused
//     unseen, with OVERLOADED, so that a client with the right password comes back later.
//  2. The SHA-256 of the password is compared with that of every line, in constant time.
//  3. A failure is counted for the source, for ten seconds.
//
// SHA-256 makes the comparison independent of the secret; it does not protect weak passwords. Use
// generated ones, as `lightning-cli certs create` makes them.
//
// # Goroutines
//
// None. The owner calls Reload every few seconds.
//
// # Locks
//
// Passwords.mu and throttle.mu are leaves.
//
// # Invariants
//
//   - A1: a password is never logged, nor part of an error.
//   - A2: a file that cannot be read or is empty changes nothing: the passwords read before stay.
//   - A3: the memory for sources that guess is bounded, however many there are.
package access
