// Says so when the page itself is broken, so that nobody waits for it: a file that did not come, or a mistake of ours.
// It stands alone, since it must work when the other files do not.

addEventListener("error", (event) => {
  if (event.target instanceof HTMLScriptElement) {
    alarm("Part of this page did not load. Reload it to try again.");
    document.getElementById("status-text").textContent = "not connected";
  }
  if (isOurs(event.filename)) alarm("Something on this page went wrong. Reload it to go on.");
}, true);

addEventListener("unhandledrejection", (event) => {
  if (isOurs(event.reason?.stack)) alarm("Something on this page went wrong. Reload it to go on.");
});

// Wallets run scripts of their own in every page; their mistakes are not ours.
function isOurs(place) {
  return String(place ?? "").includes(`${location.origin}${location.pathname}portal/`);
}

function alarm(text) {
  const banner = document.getElementById("alarm");
  banner.textContent = text;
  banner.hidden = false;
}
