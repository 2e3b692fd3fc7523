// Passkeys in this browser (Web Authentication): made, used, and what to say when they can't be.
import { call, Refusal, type Schemas } from './api';
import { here } from './me.svelte';

/** Bytes of base64url. */
function bytes(text: string): Uint8Array<ArrayBuffer> {
  const plain = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(plain, (c) => c.charCodeAt(0));
}

function text(bytes: ArrayBuffer): string {
  const plain = String.fromCharCode(...new Uint8Array(bytes));
  return btoa(plain).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** Why passkeys can't be used on this page; nothing if they can. */
export function missing(): { why: string; elsewhere?: string } | undefined {
  const served = here.facts?.passkeys;
  if (!served) return { why: 'This gate is reached by an address and not by a name, and passkeys are bound to a name. Who runs it can give it one.' };
  if (served.origin !== location.origin) return { why: 'Passkeys are bound to the gate’s name, and this page was opened under another.', elsewhere: served.origin };
  if (typeof PublicKeyCredential === 'undefined') return { why: 'This browser has no passkeys. Use a newer one, or a phone.' };
  return undefined;
}

/** What a browser's own refusal means, in words. */
function said(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  const name = error instanceof DOMException ? error.name : '';
  if (name === 'InvalidStateError') return new Refusal(0, { title: 'This device has a passkey of yours already.', hint: 'Use it, or add one on another device.' });
  if (name === 'NotAllowedError' || name === 'AbortError')
    return new Refusal(0, { title: 'No passkey was used.', hint: 'It was cancelled, it took too long, or there is none of yours on this device. Try again, or use your phone when the browser offers it.' });
  if (name === 'SecurityError') return new Refusal(0, { title: 'The browser lets no passkey be used on this page.', hint: 'Open the portal under its own name.' });
  return new Refusal(0, { title: 'The passkey could not be used.', hint: 'Try again, or use another one.', detail: String(error) });
}

const known = (credentials: string[]): PublicKeyCredentialDescriptor[] => credentials.map((id) => ({ type: 'public-key', id: bytes(id) }));

/** Makes a passkey and adds it to one's account. */
export async function add(label: string): Promise<Schemas['Passkey']> {
  const asked = await call('post', '/api/v1/passkeys/challenge');
  let made: PublicKeyCredential | null;
  try {
    made = (await navigator.credentials.create({
      publicKey: {
        challenge: bytes(asked.challenge),
        rp: { id: asked.party, name: 'Tidegate' },
        user: { id: bytes(asked.user_handle), name: asked.username, displayName: asked.display_name },
        pubKeyCredParams: asked.algorithms.map((alg) => ({ type: 'public-key', alg })),
        excludeCredentials: known(asked.have),
        authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'required' },
        attestation: 'none',
        timeout: 240_000,
      },
    })) as PublicKeyCredential | null;
  } catch (error) {
    throw said(error);
  }
  if (!made) throw said(undefined);
  const response = made.response as AuthenticatorAttestationResponse;
  return call('post', '/api/v1/passkeys', {
    body: { client_data: text(response.clientDataJSON), attestation_object: text(response.attestationObject), label: label.trim() || null },
  });
}

async function use(challenge: Uint8Array<ArrayBuffer>, party: string, credentials: string[], quietly?: AbortSignal): Promise<Schemas['PasskeyAnswer']> {
  let used: PublicKeyCredential | null;
  try {
    used = (await navigator.credentials.get({
      publicKey: { challenge, rpId: party, allowCredentials: known(credentials), userVerification: 'required', timeout: 240_000 },
      ...(quietly ? { mediation: 'conditional' as CredentialMediationRequirement, signal: quietly } : {}),
    })) as PublicKeyCredential | null;
  } catch (error) {
    throw said(error);
  }
  if (!used) throw said(undefined);
  const response = used.response as AuthenticatorAssertionResponse;
  return {
    credential: used.id,
    client_data: text(response.clientDataJSON),
    authenticator_data: text(response.authenticatorData),
    signature: text(response.signature),
    user_handle: response.userHandle ? text(response.userHandle) : null,
  };
}

/** Signs this browser in with whichever passkey one has here. `quietly`: only where the browser offers it by itself, until the signal says stop. */
export async function signIn(quietly?: AbortSignal): Promise<void> {
  const asked = await call('post', '/api/v1/sign-in/passkey/challenge', quietly ? { background: true } : {});
  const body = await use(bytes(asked.challenge), asked.party, [], quietly);
  await call('post', '/api/v1/sign-in/passkey', { body });
}

/** Proves freshly that it is oneself: for this browser, or for the terminal that waits under a code. */
export async function prove(code?: string): Promise<void> {
  const asked = await call('post', '/api/v1/step-up/challenge', { body: { code: code ?? null } });
  const answer = await use(bytes(asked.challenge), asked.party, asked.credentials);
  await call('post', '/api/v1/step-up', { body: { code: code ?? null, answer } });
}

/** What a page shows of a request, as far as a statement has it in plain words. The rest of it is bound by its revision. */
type Stated = Pick<Schemas['Request'], 'id' | 'revision' | 'resource' | 'role' | 'person' | 'duration' | 'limits' | 'break_glass' | 'extends' | 'bundle'>;

/** That in one form, so that two of them can be compared. */
const stated = ({ id, revision, resource, role, person, duration, limits, break_glass, extends: longer, bundle }: Stated): string =>
  JSON.stringify([
    [id, revision, resource, role, person.id, duration, break_glass, longer ?? null, bundle],
    [limits.command ?? null, limits.read_only ?? false, limits.tables ?? null, limits.statements ?? null],
  ]);

/** Signs an approval: over the statement, whose digest is computed here and not taken from anybody. `shown` is what the page shows. */
export async function sign(shown: Stated): Promise<Schemas['PasskeyAnswer']> {
  const asked = await call('post', '/api/v1/requests/{id}/signature', { path: { id: shown.id } });
  const statement = JSON.parse(asked.statement) as Omit<Stated, 'id' | 'person'> & { request: string; person: string };
  // INVARIANT: nobody signs what they were not shown.
  if (statement.revision !== shown.revision) throw new Refusal(412, { code: 'stale', title: 'It was changed while you read it.', hint: 'Read it again, then decide.' });
  if (stated({ ...statement, id: statement.request, person: { id: statement.person }, limits: statement.limits ?? {} }) !== stated(shown))
    throw new Refusal(0, { title: 'What the gate wants signed is not what this page shows.', hint: 'Do not sign it. Load the page again; if this stays, tell your security team.' });
  const challenge = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(asked.statement)));
  return use(challenge, asked.party, asked.credentials);
}

/** Whether the browser offers passkeys by itself beside a field. */
export async function offers(): Promise<boolean> {
  if (missing()) return false;
  return (await PublicKeyCredential.isConditionalMediationAvailable?.()) ?? false;
}
