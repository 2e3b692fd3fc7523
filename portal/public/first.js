// While the page's program is on its way, what it will ask the gate for first is asked already; `lib/early.ts` takes the answers.
(function () {
  // The program was faster, and asks for itself.
  if (window.tideAsked) return;
  var paths = ['/gate', '/me'];
  var before = null;
  try {
    before = localStorage.getItem('tide.here');
  } catch (error) {
    // Without storage nobody is known to be signed in.
  }
  // Who was signed in here last most likely still is.
  if (before !== null) {
    paths.push('/requests?of=inbox&state=pending&limit=500');
    if (location.pathname === '/') {
      paths.push('/grants?state=active&limit=500', '/grants?state=ready&limit=500', '/requests?of=mine&state=pending&limit=500', '/locks?limit=500', '/resources?limit=500');
    } else if (location.pathname === '/inbox') {
      paths.push('/requests?of=inbox&state=pending&limit=50', '/reviews?state=open&limit=500');
    } else if (/^\/sessions\/ses_\w+$/.test(location.pathname)) {
      paths.push(location.pathname);
    }
  }
  window.tideAsked = {};
  paths.forEach(function (path) {
    var url = '/api/v1' + path;
    var asked = fetch(url, { headers: { accept: 'application/json' }, credentials: 'same-origin', cache: 'no-store', redirect: 'error' });
    // Whoever takes it sees that it failed; if nobody does, nothing did.
    asked.catch(function () {});
    window.tideAsked[url] = asked;
  });
})();
