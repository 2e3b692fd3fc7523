// Every page there is, with something on it to see, and who looks at it.
import { eventually } from './gate.mjs';

/** Makes what the pages show: grants, requests that wait, sessions live and ended, a lock, an emergency, a changed policy. */
export async function prepare(gate) {
  const active = await gate.grant('ana', 'db-1', 'shell', '45m');
  const shell = gate.shell('ana', 'db-1+shell');
  shell.say('PS1="db-1$ "; uptime; ls /usr | head -5\n');
  await shell.until('db-1$ ');
  await gate.grant('ana', 'build-1', 'shell', '2h');
  await gate.ssh('ana', 'build-1+shell', 'echo built; uname -s');
  await gate.grant('ana', 'orders-db', 'readonly', '1h');
  const ready = await gate.grant('ana', 'web-1', 'logs', '30m');
  const pending = (await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'web-1', role: 'shell', duration: '1h', reason: 'roll the workers back to 4.2, they leak memory', ticket: 'INC-1042' })).request.id;
  const regulated = (await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'ledger-1', role: 'debug', reason: 'one booking is missing', ticket: 'FIN-88' })).request.id;
  const denied = (await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'db-1', role: 'logs', reason: 'just looking' })).request.id;
  await gate.api('ben', 'POST', `/api/v1/requests/${denied}/deny`, { note: 'say what for' });
  await gate.api('ben', 'POST', '/api/v1/requests', { resource: 'web-1', role: 'shell', reason: 'checkout is down', break_glass: true, activate: true });
  await gate.api('carla', 'POST', '/api/v1/locks', { scope: 'role:tunnel', reason: 'the tunnel host is being rebuilt', duration: '4h' });
  const sessions = await eventually('a session has ended', async () => {
    const ended = (await gate.api('ana', 'GET', '/api/v1/sessions?state=ended')).items;
    const live = (await gate.api('ana', 'GET', '/api/v1/sessions?state=live')).items;
    return ended.length > 0 && live.length > 0 ? { ended: ended[0].id, live: live[0].id } : undefined;
  });
  const change = (await gate.api('dan', 'GET', '/api/v1/policy/history')).items[0].id;
  return { gate, active, ready, pending, regulated, denied, ...sessions, change, end: () => shell.end() };
}

const replay = async (page) => {
  await page.getByRole('button', { name: /^Replay/ }).click();
  const seek = page.getByLabel('Position');
  await Promise.race([seek.waitFor(), page.getByRole('heading', { name: 'What was done' }).waitFor()]);
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
/** The pages each person looks at; `show` does what has to be done to see all of it. */
export function pagesOf(scene) {
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
      { name: 'chat', path: '/chat' },
      { name: 'console', path: '/console/build-1?role=shell' },
      { name: 'terminal', path: '/console/build-1?role=shell', show: terminal },
      { name: 'sql', path: '/console/orders-db?role=readonly', show: sql },
      { name: 'sql-mysql', path: '/console/warehouse-db?role=stock-readonly', show: sqlMysql },
      { name: 'not-allowed', path: '/audit' },
      { name: 'nothing-here', path: '/requests/req_00000000000000000000000000' },
      { name: 'no-page', path: '/nowhere' },
    ],
    ben: [
      { name: 'inbox', path: '/inbox' },
      { name: 'request-to-decide', path: `/requests/${scene.pending}` },
    ],
    carla: [
      { name: 'sessions', path: '/sessions' },
      { name: 'session-live', path: `/sessions/${scene.live}`, show: replay },
      { name: 'session-ended', path: `/sessions/${scene.ended}`, show: replay },
      { name: 'search', path: '/search' },
      { name: 'found', path: '/search?text=uname', show: (page) => page.getByRole('list', { name: 'Found' }).waitFor() },
      { name: 'locks', path: '/locks' },
      { name: 'measures', path: '/measures?by=day', show: (page) => page.getByRole('heading', { name: 'Lateral steps' }).waitFor() },
      { name: 'reviews', path: '/inbox' },
      { name: 'audit', path: '/audit' },
      { name: 'who-could', path: '/audit?view=could&resource=db-1', show: (page) => page.getByText(/ways? into/).waitFor() },
      { name: 'who-did', path: '/audit?view=did&resource=db-1', show: (page) => page.getByText(/sessions? on/).waitFor() },
      { name: 'verify', path: '/audit?view=verify', show: async (page) => (await button('Verify now')(page), page.getByText('Every row is as the log says.').waitFor()) },
    ],
    dan: [
      { name: 'people', path: '/people' },
      { name: 'person', path: `/people/${id('ana')}` },
      { name: 'resources', path: '/resources' },
      { name: 'resource', path: '/resources/db-1' },
      { name: 'policy', path: '/policy', show: async (page) => (await page.getByLabel('reach').fill('ledger-1'), await page.getByLabel('as').fill('debug'), await button('Explain')(page), page.getByText('Step by step').waitFor()) },
      { name: 'playbook', path: '/policy/playbook', show: (page) => page.getByRole('heading', { name: 'How' }).waitFor() },
      { name: 'change', path: `/policy/${scene.change}` },
      { name: 'outbox', path: '/outbox?of=all' },
      { name: 'home-admin', path: '/' },
    ],
    eve: [{ name: 'nothing-to-ask', path: '/ask' }],
  };
}
