// A certified OpenID provider for tests, on a free port of loopback: whoever comes is signed in at once as `current`.
// First argument: the folder with node_modules. Standard input: one line of JSON with `client` and `accounts`.
import http from 'node:http';
import path from 'node:path';
import readline from 'node:readline';
import { pathToFileURL } from 'node:url';

// Standard output is for the one line that says where this is; nobody reads on after it.
console.info = console.log = console.error;
process.stdout.on('error', () => {});

const { Provider } = await import(pathToFileURL(path.join(process.argv[2], 'node_modules/oidc-provider/lib/index.js')));
const lines = readline.createInterface({ input: process.stdin });
const settings = JSON.parse(await new Promise((resolve) => lines.once('line', resolve)));
// Whoever started this is gone: so is this.
lines.on('close', () => process.exit(0));

let current = settings.current;
const accounts = settings.accounts;
const server = http.createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [settings.client],
  scopes: ['openid', 'profile', 'groups'],
  claims: { openid: ['sub', 'sid'], profile: ['name', 'preferred_username', 'email'], groups: ['groups'] },
  conformIdTokenClaims: false,
  cookies: { keys: ['for tests'] },
  features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
  findAccount: (_, id) => ({ accountId: id, claims: async () => ({ sub: id, ...accounts[id] }) }),
  // The gate is on loopback too, where a provider in earnest sends nothing.
  fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  async loadExistingGrant(ctx) {
    const { client, session, params } = ctx.oidc;
    const grant = new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope(params.scope);
    await grant.save();
    return grant;
  },
});
const answer = provider.callback();

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString() || '{}');
}

server.on('request', async (request, response) => {
  try {
    if (request.url.startsWith('/interaction/')) {
      if (current === 'nobody') return await provider.interactionFinished(request, response, { error: 'access_denied' });
      return await provider.interactionFinished(request, response, { login: { accountId: current } });
    }
    if (request.url === '/test/become') {
      const change = await body(request);
      current = change.id;
      if (change.claims) accounts[current] = change.claims;
      return response.end('{}');
    }
    if (request.url === '/test/log-out') {
      const { sub, sid } = await body(request);
      const client = await provider.Client.find(settings.client.client_id);
      await client.backchannelLogout(sub, sid);
      return response.end('{}');
    }
    return answer(request, response);
  } catch (error) {
    response.statusCode = 500;
    response.end(`${error}: ${error.cause ?? ""}`);
  }
});
process.stdout.write(`${issuer}\n`);
