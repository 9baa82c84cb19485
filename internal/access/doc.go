// Package access checks the passwords of clients: those of a file, one per line, all of them of the
// user "default". It slows down who guesses.
//
// It is not a list of users with rights: whoever knows a password may do everything that a client may.
//
// # The life of an attempt
//
//  1. The SHA-256 of the password is compared with that of every line, in constant time.
//  2. If the source has guessed too often of late the attempt is refused with OVERLOADED, right or
//     wrong, so that a guess is not answered; a client with the right password comes back later.
//     A source from which the right one came within the last hour is let in: others who share its
//     address must not be able to lock it out.
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
