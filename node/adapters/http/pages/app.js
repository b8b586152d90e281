// The frame of the page: which view is shown, light or dark, and what all views know of the network.

import { at, askJson } from "./dom.js";
import { follow, readNodes, take } from "./known.js";
import * as network from "./network.js";
import * as nodes from "./nodes.js";
import * as stake from "./stake.js";
import * as attempt from "./try.js";

const VIEWS = { network, try: attempt, nodes, stake };
const TITLES = { network: "Network", try: "Try it", nodes: "Nodes", stake: "Stake" };

function show() {
  const [name, query = ""] = location.hash.slice(1).split("?");
  const view = name in VIEWS ? name : "network";
  for (const key of Object.keys(VIEWS)) at(`view-${key}`).hidden = key !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[view]} · Cuckoo`;
  VIEWS[view].open?.(new URLSearchParams(query));
}

function status(kind, text) {
  at("status").className = `status ${kind}`;
  at("status-text").textContent = text;
}

function onNetwork({ network: found }) {
  at("net-name").textContent = found.network;
  const miners = found.members.filter((member) => member.role === "miner" && member.here).length;
  if (found.ready) status("good", `${miners} ${miners === 1 ? "miner" : "miners"} ready`);
  else status("waiting", found.reason);
}

let source = null;

/** Follow the network; a page that nobody looks at lets go, since browsers and coordinators allow only so many. */
function listen() {
  source?.close();
  source = document.hidden ? null : new EventSource("portal/events");
  if (!source) return;
  const mine = source;
  source.addEventListener("network", (event) => take(JSON.parse(event.data)));
  source.addEventListener("happenings", (event) => network.happened(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    status("bad", "no connection");
    if (mine.readyState === EventSource.CLOSED) setTimeout(() => mine === source && listen(), 5000);
  });
}

function theme() {
  const root = document.documentElement;
  at("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
}

async function start() {
  theme();
  follow(onNetwork);
  for (const view of Object.values(VIEWS)) view.start?.();
  addEventListener("hashchange", () => {
    show();
    at("content").focus({ preventScroll: true });
    scrollTo(0, 0);
  });
  show();
  listen();
  document.addEventListener("visibilitychange", () => setTimeout(() => document.hidden === (source !== null) && listen(), 3000));
  try {
    network.happened((await askJson("portal/recent")).happenings, { past: true });
    await readNodes();
  } catch {
    // the chain may be slow: names come with the next look
  }
  setInterval(() => document.hidden || readNodes().catch(() => {}), 20000);
}

start();
