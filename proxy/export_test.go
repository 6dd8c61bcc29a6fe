package proxy

// What tests outside want to see said.
const (
	TooManyInAll    = tooManyInAll
	TooManyOfSource = tooManyOfSource
)
