// A certified OpenID provider (npm: oidc-provider) on this machine, for the check of `kindred login`. Its own pages for development sign anybody in
// under the name that is entered; who is called `ada` is in the group `vision`. Prints the issuer once it listens.
//   node provider.mjs SECONDS-THAT-TOKENS-ARE-GOOD
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.OIDC_PROVIDER_MODULES}/`);
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const life = Number(process.argv[2] ?? 3600);
const server = createServer();
await new Promise((listens) => server.listen(0, '127.0.0.1', listens));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'kindred',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
    response_types: [],
    redirect_uris: [],
  }],
  scopes: ['openid', 'offline_access', 'profile'],
  claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
  // Claims of scopes stand in the ID token too, as most providers have it.
  conformIdTokenClaims: false,
  features: {
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
    devInteractions: { enabled: true },
  },
  ttl: { IdToken: life, AccessToken: life },
  async findAccount(_, id) {
    const groups = id === 'ada' ? ['vision'] : ['others'];
    return { accountId: id, claims: async () => ({ sub: id, preferred_username: id, groups }) };
  },
});
server.on('request', provider.callback());
console.log(issuer);
