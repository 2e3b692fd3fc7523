// Every page there is, with something on it to see, and who looks at it.
import assert from 'node:assert/strict';
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, startGate } from './gate.mjs';
import { mailboxOf, SECRET, startEndpoint, startMailServer, streamTo, webhookTo } from './outside.mjs';

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIILVuHvSEZnVnFZHgp0wBJrIyIbmO0Mg0nSrb4B7L8AD';
const DIRECTORY = '[[directory]]\nname = "corp"\n[directory.groups]\n"Platform Team" = "platform"\n';
const ROTA = '[[oncall]]\nname = "rota"\nkind = "icalendar"\n[[oncall.schedule]]\nservice = "shop"\nfile = "rota.ics"\n[oncall.people]\n"Ana" = "ana"\n';
const day = (days) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);

/** A gate with surroundings that are not all well, and everything that the pages show. */
export async function startScene() {
  const [mails, well, away, gone] = await Promise.all([startMailServer(), startEndpoint(200), startEndpoint(503), startEndpoint(410)]);
  const outside = [mails, well, away, gone];
  const stop = async (gate) => {
    await gate?.stop();
    await Promise.all(outside.map((one) => one.stop()));
  };
  let gate;
  try {
    gate = await startGate({
      settings: [mails.settings, streamTo('siem', well), streamTo('archive', away), webhookTo('pager', away), webhookTo('old-board', gone), DIRECTORY, ROTA].join('\n'),
      files: { hook: SECRET, 'rota.ics': 'this is no calendar' },
      policy: {
        'people.toml': '[[on_call]]\nname = "shop"\nsource = "rota"\n',
        'tiers.toml': `[[tier]]\nname = "staging"\ndescription = "Rehearsals."\nproduction = false\nmax = "8h"\ndefault = "1h"\napprovals = []\nobserve = { from = "${day(-12)}", until = "${day(40)}" }\n`,
      },
    });
    const scene = await prepare(gate, mails);
    return { ...scene, stop: async () => (scene.end(), stop(gate)) };
  } catch (error) {
    await stop(gate);
    throw error;
  }
}

/** Lists of ways to production, as teams bring them. */
function lists(gate) {
  const port = /^Port (\d+)/m.exec(readFileSync(join(gate.home, 'target', 'sshd_config'), 'utf8'))[1];
  const ana = readFileSync(`${gate.person('ana').key}.pub`, 'utf8').trim();
  return [
    {
      kind: 'ssh-config',
      of: 'ana',
      file: 'config',
      content: `Host bastion\n  HostName bastion.internal\n  User ana\n  IdentityFile ~/.ssh/id_ed25519\nHost old-db\n  HostName 10.9.9.9\n  User root\n  IdentityFile ~/.ssh/deploy_key\nHost web\n  HostName 127.0.0.1\n  Port ${port}\n  User ana\n`,
    },
    { kind: 'authorized-keys', on: 'legacy-billing-01.eu-central-1.compute.internal:22', account: 'deploy', content: `${ana} ana@laptop\n${KEY} jenkins@ci (do not remove!)\n` },
    {
      kind: 'postgres-roles',
      on: 'reports-db.internal:5432',
      content: 'rolname,rolcanlogin,rolsuper,rolcreaterole,rolcreatedb,rolreplication,rolbypassrls,rolvaliduntil\nreporting,t,f,f,f,f,f,\nadmin,t,t,t,t,f,f,\n',
    },
    { kind: 'ci-secrets', content: '[{"name":"DEPLOY_SSH_KEY","updatedAt":"2024-03-01T10:00:00Z"},{"name":"PROD_DATABASE_URL","updatedAt":"2023-11-20T08:30:00Z"}]' },
    { kind: 'vpn', content: 'user,network,auth,last_seen\nana,production,certificate,2026-11-01\nold.contractor@example.com,production,password,2025-02-11\n' },
    {
      kind: 'csv',
      source: 'vendors',
      content: 'target,reach,account,holder,issuance,attribution,note\nplc-gateway.internal:22,ssh,service,Datenbankwartungsgesellschaft für Altsysteme mbH & Co. KG,password,shared,Support contract until the end of next year; nobody has seen the person who holds it\n',
    },
  ];
}

/** Ways beside the gate, some with an answer; what targets hold; what has to be kept. */
async function prepareBeside(gate) {
  for (const list of lists(gate)) await gate.api('dan', 'POST', '/api/v1/inventory/import', list);
  const { items: ways } = await gate.api('dan', 'GET', '/api/v1/inventory/paths?state=open&limit=100');
  const way = (target) => ways.find((one) => one.target.startsWith(target));
  await gate.api('dan', 'POST', `/api/v1/inventory/paths/${way('10.9.9.9').id}/close`, { reason: 'the machine was switched off, and its disk wiped' });
  await gate.api('dan', 'POST', `/api/v1/inventory/paths/${way('plc-gateway').id}/accept`, { reason: 'the vendor has no other way in before the contract ends', until: `${day(120)}T00:00:00Z` });
  // Somebody was there before the gate.
  appendFileSync(join(gate.home, 'target', 'user_ca.pub'), `${KEY} an authority from before\n`);
  for (const resource of ['db-1', 'orders-db', 'warehouse-db']) await gate.api('dan', 'POST', '/api/v1/inventory/drift', { resource });
  const { items: findings } = await gate.api('dan', 'GET', '/api/v1/inventory/findings?state=open&limit=100');
  const account = findings.find((one) => one.kind === 'database_account') ?? findings[0];
  await gate.api('dan', 'POST', `/api/v1/inventory/findings/${account.id}/accept`, { reason: 'made with the server; it signs in from nowhere' });
  await gate.api('carla', 'POST', '/api/v1/holds', { scope: `person:${gate.person('ana').id}`, reason: 'a claim of a customer, case 2026-117' });
  const hold = await gate.api('carla', 'POST', '/api/v1/holds', { scope: 'resource:build-1', reason: 'what was built in March' });
  await gate.api('carla', 'POST', `/api/v1/holds/${hold.id}/lift`, { reason: 'the audit is over' });
  await gate.api('dan', 'POST', '/api/v1/directories/corp/tokens', { duration: '30d', label: 'okta' });
  await gate.api('carla', 'POST', '/api/v1/containments', { scope: `person:${gate.person('frank').id}`, reason: 'his laptop was stolen at the airport' });
}

/** Makes what the pages show: grants, requests that wait, sessions live and ended, a lock, an emergency, a changed policy. */
async function prepare(gate, mails) {
  const mailbox = await mailboxOf(gate, mails, 'ben');
  const active = await gate.grant('ana', 'db-1', 'shell', '45m');
  const shell = gate.shell('ana', 'db-1+shell');
  shell.say('PS1="db-1$ "; uptime; ls /usr | head -5\n');
  await shell.until('db-1$ ');
  await gate.grant('ana', 'orders-db', 'readonly', '1h');
  await gate.psql('ana', 'orders-db+readonly', 'orders', 'SELECT id, name, email FROM customers ORDER BY id LIMIT 8');
  await assert.rejects(gate.psql('ana', 'orders-db+readonly', 'orders', 'SELECT card FROM payments'));
  const statements = await eventually('her sessions at the database have ended', async () => {
    const { items } = await gate.api('ana', 'GET', '/api/v1/sessions?state=ended&resource=orders-db');
    return items.length === 2 ? items[1].id : undefined;
  });
  await gate.grant('ana', 'build-1', 'shell', '2h');
  await gate.ssh('ana', 'build-1+shell', 'echo built; uname -s');
  const ready = await gate.grant('ana', 'web-1', 'logs', '30m');
  const pending = (await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'web-1', role: 'shell', duration: '1h', reason: 'roll the workers back to 4.2, they leak memory', ticket: 'INC-1042' })).request.id;
  const link = await mails.code(mailbox, 'decide', 'INC-1042');
  const regulated = (await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'ledger-1', role: 'debug', reason: 'one booking is missing', ticket: 'FIN-88' })).request.id;
  const denied = (await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'db-1', role: 'logs', reason: 'just looking' })).request.id;
  await gate.api('ben', 'POST', `/api/v1/requests/${denied}/deny`, { note: 'say what for' });
  await gate.api('ben', 'POST', '/api/v1/requests', { resource: 'db-1', role: 'debug', reason: 'the queue is stuck', break_glass: true, activate: true });
  const [review] = (await gate.api('carla', 'GET', '/api/v1/reviews?state=open')).items;
  await gate.api('carla', 'POST', `/api/v1/reviews/${review.id}/complete`, { outcome: 'not_justified', note: 'a lead was there and could have agreed', follow_ups: ['name who is called at night', 'rotate the deploy key'] });
  await gate.api('ben', 'POST', '/api/v1/requests', { resource: 'web-1', role: 'shell', reason: 'checkout is down', break_glass: true, activate: true });
  await gate.api('carla', 'POST', '/api/v1/locks', { scope: 'role:tunnel', reason: 'the tunnel host is being rebuilt', duration: '4h' });
  // Ben's, which no legal hold keeps.
  await gate.grant('ben', 'build-1', 'shell', '2h');
  await gate.ssh('ben', 'build-1+shell', 'echo nothing to keep');
  const free = await eventually('Ben\'s session has ended', async () => (await gate.api('ben', 'GET', '/api/v1/sessions?state=ended')).items[0]?.id);
  const sessions = await eventually('a session has ended', async () => {
    const ended = (await gate.api('ana', 'GET', '/api/v1/sessions?state=ended&resource=build-1')).items;
    const live = (await gate.api('ana', 'GET', '/api/v1/sessions?state=live')).items;
    return ended.length > 0 && live.length > 0 ? { ended: ended[0].id, live: live[0].id } : undefined;
  });
  const change = (await gate.api('dan', 'GET', '/api/v1/policy/history')).items[0].id;
  await prepareBeside(gate);
  const began = await fetch(`${gate.facts.api}/api/v1/device`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ client: 'tidegate 0.1 on ana-laptop', purpose: 'tidegate login' }) });
  const device = (await began.json()).user_code;
  return { gate, active, ready, pending, regulated, denied, free, statements, ...sessions, change, link, device, end: () => shell.end() };
}

const replay = async (page) => {
  await page.getByRole('button', { name: /^Replay/ }).click();
  const seek = page.getByLabel('Position');
  await Promise.race([seek.waitFor(), page.getByRole('heading', { name: /^What (else )?was done/ }).waitFor()]);
  if (await seek.count()) await seek.fill(await seek.getAttribute('max'));
};
const button = (name) => async (page) => {
  await page.getByRole('button', { name, exact: true }).first().click();
};
/** Where calls are refused, a refusal is what there is to see. */
const refused = (page) => page.getByText('The test lets nothing change.').waitFor();
const terminal = async (page) => {
  await button('Open the terminal')(page);
  const shown = page.getByRole('button', { name: 'Close the terminal' }).waitFor().then(async () => {
    await page.keyboard.type('uname -o\n');
    await page.locator('.xterm-rows').getByText('GNU/Linux').first().waitFor();
  });
  await Promise.race([shown, refused(page)]);
};
const sql = async (page) => {
  await button('Open the SQL prompt')(page);
  const shown = page.getByLabel('Statement').waitFor().then(async () => {
    await page.getByLabel('Statement').fill('SELECT id, name, email FROM customers ORDER BY id LIMIT 8');
    await button('Run')(page);
    await page.getByText('8 rows').waitFor();
  });
  await Promise.race([shown, refused(page)]);
};
const sqlMysql = async (page) => {
  await button('Open the SQL prompt')(page);
  const shown = page.getByLabel('Statement').waitFor().then(async () => {
    await page.getByLabel('Statement').fill('SELECT name, email FROM suppliers LIMIT 3');
    await button('Run')(page);
    await page.getByText('3 rows').waitFor();
  });
  await Promise.race([shown, refused(page)]);
};
/** The addresses that the portal's frame knows, as they stand there. */
function routes() {
  const frame = readFileSync(new URL('../src/App.svelte', import.meta.url), 'utf8');
  const found = [...frame.matchAll(/\{ at: \/(\^.+?\$)\/,/g)].map((one) => new RegExp(one[1]));
  const alone = [...frame.matchAll(/place\.path === '(\/\w+)'\}/g)].map((one) => new RegExp(`^${one[1]}$`));
  if (found.length < 30 || alone.length === 0) throw new Error(`only ${found.length} and ${alone.length} addresses were found in the frame`);
  return [...found, ...alone];
}

/** The pages each person looks at. INVARIANT: every page that the portal has is among them. */
export function pagesOf(scene) {
  const pages = looked(scene);
  const paths = Object.values(pages).flat().map((one) => new URL(one.path, 'https://gate.invalid').pathname);
  const forgotten = routes().filter((route) => !paths.some((path) => route.test(path)));
  if (forgotten.length > 0) throw new Error(`nobody looks at ${forgotten.map((route) => route.source).join(', ')}`);
  return pages;
}

/** What is looked at by whom; `show` does what has to be done to see all of it. */
function looked(scene) {
  const { gate } = scene;
  const id = (name) => gate.person(name).id;
  return {
    ana: [
      { name: 'home', path: '/' },
      { name: 'ask', path: '/ask?resource=ledger-1&role=debug', show: async (page) => (await page.getByLabel(/^Ticket/).fill('FIN-88'), await page.getByLabel(/^Reason/).fill('one booking is missing'), page.getByText('Somebody has to agree').waitFor()) },
      { name: 'requests', path: '/requests' },
      { name: 'request-pending', path: `/requests/${scene.pending}` },
      { name: 'request-denied', path: `/requests/${scene.denied}` },
      { name: 'grant', path: `/grants/${scene.active}` },
      { name: 'account', path: '/account' },
      { name: 'welcome', path: '/welcome' },
      { name: 'prove', path: '/prove' },
      { name: 'device', path: '/device' },
      { name: 'device-asks', path: `/device?code=${scene.device}`, show: (page) => page.getByRole('button', { name: 'Yes, sign it in as me' }).waitFor() },
      { name: 'mailbox', path: '/mailbox#tg_mailbox' },
      { name: 'chat', path: '/chat' },
      { name: 'console', path: '/console/build-1?role=shell' },
      { name: 'terminal', path: '/console/build-1?role=shell', show: terminal },
      { name: 'sql', path: '/console/orders-db?role=readonly', show: sql },
      { name: 'sql-mysql', path: '/console/warehouse-db?role=stock-readonly', show: sqlMysql },
      { name: 'on-call', path: '/oncall', show: (page) => page.getByText('Nobody counts as on call', { exact: false }).waitFor() },
      { name: 'not-allowed', path: '/audit' },
      { name: 'not-allowed-inventory', path: '/inventory' },
      { name: 'not-allowed-messages', path: '/outbox' },
      { name: 'nothing-here', path: '/requests/req_00000000000000000000000000' },
      { name: 'no-page', path: '/nowhere' },
    ],
    ben: [
      { name: 'inbox', path: '/inbox' },
      { name: 'request-to-decide', path: `/requests/${scene.pending}` },
      { name: 'decide-by-mail', path: `/decide#${scene.link}`, show: (page) => page.getByRole('button', { name: 'Approve' }).waitFor() },
      { name: 'account-with-mailbox', path: '/account' },
    ],
    carla: [
      { name: 'sessions', path: '/sessions' },
      { name: 'session-live', path: `/sessions/${scene.live}`, show: replay },
      { name: 'session-ended', path: `/sessions/${scene.ended}`, show: replay },
      { name: 'session-statements', path: `/sessions/${scene.statements}`, show: replay },
      { name: 'session-to-destroy', path: `/sessions/${scene.free}`, show: (page) => page.getByRole('button', { name: 'Destroy the recording' }).waitFor() },
      { name: 'search', path: '/search' },
      { name: 'found', path: '/search?text=uname', show: (page) => page.getByRole('list', { name: 'Found' }).waitFor() },
      { name: 'locks', path: '/locks' },
      { name: 'person-contained', path: `/people/${id('frank')}`, show: (page) => page.getByRole('button', { name: 'Lift the containment' }).waitFor() },
      { name: 'compliance', path: '/compliance' },
      { name: 'holds', path: '/compliance?view=holds' },
      { name: 'inventory-read', path: '/inventory' },
      { name: 'measures', path: '/measures?by=day', show: (page) => page.getByRole('heading', { name: 'Lateral steps' }).waitFor() },
      { name: 'reviews', path: '/inbox', show: async (page) => (await page.getByText('Answered reviews', { exact: true }).click(), page.getByText('rotate the deploy key').waitFor()) },
      { name: 'audit', path: '/audit' },
      { name: 'audit-texts', path: '/audit?event=request.submitted', show: (page) => page.locator('main details summary').first().click() },
      { name: 'who-could', path: '/audit?view=could&resource=db-1', show: (page) => page.getByText(/ways? into/).waitFor() },
      { name: 'who-did', path: '/audit?view=did&resource=db-1', show: (page) => page.getByText(/sessions? on/).waitFor() },
      { name: 'verify', path: '/audit?view=verify', show: async (page) => (await button('Verify now')(page), page.getByText('Every row is as the log says.').waitFor()) },
      { name: 'evidence', path: '/audit?view=evidence', show: (page) => page.getByLabel('Since').fill('2026-01-01T00:00') },
    ],
    dan: [
      { name: 'welcome-to-who-keeps-the-gate', path: '/welcome' },
      { name: 'people', path: '/people', show: (page) => page.getByRole('button', { name: 'Make a token for corp' }).waitFor() },
      { name: 'person', path: `/people/${id('ana')}` },
      { name: 'resources', path: '/resources' },
      { name: 'resource', path: '/resources/db-1' },
      { name: 'policy', path: '/policy', show: async (page) => (await page.getByLabel('reach').fill('ledger-1'), await page.getByLabel('as').fill('debug'), await button('Explain')(page), page.getByText('Step by step').waitFor()) },
      { name: 'playbook', path: '/policy/playbook', show: (page) => page.getByRole('heading', { name: 'How' }).waitFor() },
      { name: 'change', path: `/policy/${scene.change}` },
      { name: 'inventory', path: '/inventory' },
      { name: 'inventory-accepted', path: '/inventory?state=accepted' },
      { name: 'drift', path: '/inventory?of=drift' },
      { name: 'rollout', path: '/rollout' },
      { name: 'outbox', path: '/outbox' },
      { name: 'outbox-all', path: '/outbox?of=all' },
      { name: 'home-admin', path: '/' },
    ],
    eve: [{ name: 'nothing-to-ask', path: '/ask' }],
  };
}
