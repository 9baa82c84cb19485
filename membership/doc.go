// Package membership is memberlist behind a small face.
package membership
