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
  if (lostAt) return;
  if (found.ready) status("good", `${miners} ${miners === 1 ? "miner" : "miners"} ready`);
  else status("waiting", found.reason);
}

let source = null;
let lostAt = null;
let heard = null;

/** What is shown is as old as the connection's end: say so until it is back. */
function lose() {
  status("bad", "no connection");
  lostAt ??= new Date();
  at("lost").textContent =
    `No connection to this coordinator since ${lostAt.toLocaleTimeString()}: what you see is from then. It is asked again every few seconds.`;
  at("lost").hidden = false;
}

/** The stream is open. Steps that passed while it was not are read once, and those that come meanwhile added to them. */
async function found() {
  const wasLost = lostAt !== null;
  lostAt = null;
  at("lost").hidden = true;
  heard = [];
  try {
    const { happenings } = await askJson("portal/recent");
    network.begin([...happenings, ...heard]);
  } finally {
    heard = null;
  }
  if (wasLost) {
    stake.again();
    readNodes().catch(() => {});
  }
}

/** Follow the network; a page that nobody looks at lets go, since browsers and coordinators allow only so many. */
function listen() {
  source?.close();
  source = document.hidden ? null : new EventSource("portal/events");
  if (!source) return;
  const mine = source;
  source.addEventListener("network", (event) => take(JSON.parse(event.data)));
  source.addEventListener("happenings", (event) => {
    const steps = JSON.parse(event.data);
    heard?.push(...steps);
    network.happened(steps);
  });
  source.addEventListener("open", () => found().catch(() => {}));
  source.addEventListener("error", () => {
    lose();
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
    await readNodes();
  } catch {
    // the chain may be slow: names come with the next look
  }
  setInterval(() => document.hidden || readNodes().catch(() => {}), 20000);
}

start();
