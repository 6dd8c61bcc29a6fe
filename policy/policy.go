// Package policy is the document that administrators set for a domain: its fields, bounds and defaults as pure values.
// It refuses every value out of bounds and names every mistake at once; it reads no record and keeps no state.
package policy
