// A real OpenID provider for tests: node provider.mjs FOLDER ISSUER CHAIN KEY SECRET REDIRECT. Its own pages for signing in
// take any name and password.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { pathToFileURL } from 'node:url';

const [folder, issuer, chain, key, secret, redirect] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${folder}/node_modules/oidc-provider/lib/index.js`));

const client = (id, method, alg) => ({
  client_id: id,
  client_secret: secret,
  redirect_uris: [redirect],
  response_types: ['code'],
  grant_types: ['authorization_code'],
  token_endpoint_auth_method: method,
  id_token_signed_response_alg: alg,
});

const jwk = { ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256', kid: 'first' };

const provider = new Provider(issuer, {
  clients: [client('openid', 'client_secret_basic', 'ES256'), client('line', 'client_secret_post', 'HS256')],
  jwks: { keys: [jwk] },
  cookies: { keys: ['of the tests'] },
  pkce: { required: () => true, methods: ['S256'] },
  enabledJWA: { idTokenSigningAlgValues: ['ES256', 'HS256'] },
});

const { port } = new URL(issuer);
createServer({ key: readFileSync(key), cert: readFileSync(chain) }, provider.callback()).listen(Number(port), '127.0.0.1');
