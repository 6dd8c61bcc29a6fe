// Empty: with it the compiler takes functions without a body, which memory.go links to argon2's.
