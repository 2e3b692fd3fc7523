// A CI system for tests, on a free port of loopback: a certified OpenID provider whose keys sign what the test says a job is, and the
// address where GitHub's runners ask for a job's token. First argument: the folder with node_modules.
import crypto from 'node:crypto';
import http from 'node:http';
import path from 'node:path';
import readline from 'node:readline';
import { pathToFileURL } from 'node:url';

console.info = console.log = console.error;
process.stdout.on('error', () => {});

const { Provider } = await import(pathToFileURL(path.join(process.argv[2], 'node_modules/oidc-provider/lib/index.js')));
// Whoever started this is gone: so is this.
readline.createInterface({ input: process.stdin }).on('close', () => process.exit(0));

const fresh = (kid) => ({ kid, ...crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }) });
let key = fresh('one');
// Nobody publishes this one.
const stranger = fresh('one');
let published = [key];
let away = false;
let job = {};
let minted = 0;
const fetched = { configuration: 0, jwks: 0 };

const server = http.createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const jwk = ({ kid, privateKey }) => ({ ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' });
const open = ({ kid, publicKey }) => ({ ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' });
const provider = new Provider(issuer, { jwks: { keys: [jwk(key)] }, cookies: { keys: ['for tests'] }, features: { devInteractions: { enabled: false } } });
const answer = provider.callback();

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

// `by`: `own`, `stranger` (another's key under the same id), `none`, or `public` (HS256 with the public key as secret).
function sign(claims, { by = 'own', header = {} } = {}) {
  const alg = by === 'none' ? 'none' : by === 'public' ? 'HS256' : 'RS256';
  const message = `${part({ alg, typ: 'JWT', kid: key.kid, ...header })}.${part(claims)}`;
  if (by === 'none') return `${message}.`;
  if (by === 'public') {
    const pem = key.publicKey.export({ format: 'pem', type: 'spki' });
    return `${message}.${crypto.createHmac('sha256', pem).update(message).digest('base64url')}`;
  }
  const signer = by === 'stranger' ? stranger : key;
  return `${message}.${crypto.sign('RSA-SHA256', Buffer.from(message), signer.privateKey).toString('base64url')}`;
}

function claims(audience, more) {
  const now = Math.floor(Date.now() / 1000);
  minted += 1;
  const all = { jti: `job-${minted}`, iss: issuer, aud: audience, iat: now, nbf: now, exp: now + 300, ...job, ...more };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null));
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString() || '{}');
}

server.on('request', async (request, response) => {
  const send = (status, value) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
  };
  try {
    const url = new URL(request.url, issuer);
    if (url.pathname.startsWith('/.well-known/') || url.pathname === '/jwks') {
      fetched[url.pathname === '/jwks' ? 'jwks' : 'configuration'] += 1;
      if (away) return send(503, {});
      if (url.pathname === '/jwks') return send(200, { keys: published.map(open) });
      return answer(request, response);
    }
    // As GitHub's runner serves it: to whoever has the job's own request token, for the audience that is asked for.
    if (url.pathname === '/actions/idtoken') {
      if (request.headers.authorization?.toLowerCase() !== 'bearer the job may ask') return send(401, { message: 'no' });
      if (url.searchParams.get('api-version') !== '2.0') return send(400, { message: 'api-version' });
      const audience = url.searchParams.get('audience') ?? 'https://github.com/acme';
      return send(200, { count: 1, value: sign(claims(audience, {})) });
    }
    if (url.pathname === '/test/job') {
      job = await body(request);
      return send(200, {});
    }
    if (url.pathname === '/test/token') {
      const { audience, change, how } = await body(request);
      return send(200, { value: sign(claims(audience, change), how) });
    }
    if (url.pathname === '/test/keys') {
      const { rotate, gone } = await body(request);
      if (rotate) {
        key = fresh(rotate);
        published = [key];
      }
      if (gone !== undefined) away = gone;
      return send(200, fetched);
    }
    return send(404, {});
  } catch (error) {
    send(500, { error: `${error}` });
  }
});
process.stdout.write(`${issuer}\n`);
