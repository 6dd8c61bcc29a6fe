package main

import (
	"crypto/tls"
	"fmt"
	"strings"

	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/redis"
	"latchkey/configs"
)

// redisOptions are what the configuration says of Redis.
func redisOptions(cfg *configs.Config) (redis.Options, error) {
	r := cfg.Store.Redis
	password, err := r.Secret()
	if err != nil {
		return redis.Options{}, cfg.At("store.redis.secret_file", "%v", err)
	}
	sentinels, err := r.SentinelSecret()
	if err != nil {
		return redis.Options{}, cfg.At("store.redis.sentinel_secret_file", "%v", err)
	}
	conf, err := redisTLS(r.TLS)
	if err != nil {
		return redis.Options{}, mistakeAt(cfg, "store.redis.tls", err)
	}
	o := redis.Options{
		Mode: r.Mode, MasterName: r.MasterName, User: r.User, Password: password, SentinelUser: r.SentinelUser, SentinelPassword: sentinels,
		TLS: conf, Database: r.Database, Prefix: r.Prefix, Replicas: r.Replicas, AllowLossy: r.AllowLossy, StateDir: cfg.Data, Node: cfg.NodeName(),
		Local: memory.NewEphemeral(memory.Options{}),
	}
	for _, a := range r.Addresses {
		o.Addresses = append(o.Addresses, strings.TrimPrefix(a, "unix:")) // the client takes a path for a socket
	}
	return o, nil
}

// redisTLS answers nil for the clear way.
func redisTLS(t configs.StoreTLS) (*tls.Config, error) {
	if t.Mode != "tls" {
		return nil, nil
	}
	conf, err := authorities(t.CAFile)
	if err != nil {
		return nil, err
	}
	conf.ServerName, conf.MinVersion = t.ServerName, tls.VersionTLS12
	if t.CertFile == "" {
		return conf, nil
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("cert_file: %w", err)
	}
	conf.Certificates = []tls.Certificate{pair}
	return conf, nil
}
