// The console's only script: what plain forms cannot do. Every page works without it but passkeys.
