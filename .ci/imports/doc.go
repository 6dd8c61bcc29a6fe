// Package imports holds the test that says who may import whom, each rule with its why. It has no code of its own.
package imports
