package redis

// Records keeps store.Records, store.Snapshotter and store.Restorer.
type Records struct{ db *DB }
