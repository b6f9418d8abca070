// Runs before the first paint: the theme the visitor chose, else what the system says (no attribute).
try {
  const chosen = localStorage.getItem('theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
} catch {
  // Storage may be forbidden; the system's theme serves.
}
