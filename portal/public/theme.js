// Before anything is painted: the theme somebody chose, if they chose one.
(function () {
  try {
    var chosen = localStorage.getItem('tide.theme');
    if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
  } catch (error) {
    // Without storage the system's preference holds.
  }
})();
