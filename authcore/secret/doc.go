// Package secret keeps secrets from getting out: String never prints, logs or marshals itself, and Keys are the server
// keys under which credentials are fingerprinted, each with an id that stands beside what was made with it.
package secret
