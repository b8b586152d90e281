// Staking with the browser's wallet. What an account has, and what a wish would do, the coordinator reads from the chain;
// nothing happens but what the wallet's owner signs.

import { address, ask, askJson, at, cai, h, number, percent, sentence, span } from "./dom.js";
import { confirm, plainly } from "./confirm.js";
import { gently } from "./gently.js";
import { releasesCard, stakesCard, whenReady } from "./held.js";
import { called, known, nameOf, readNodes } from "./known.js";
import { registerCard } from "./register.js";
import { Account, look, wallets, words } from "./wallet.js";

const LOOK_S = 6;
const RETRY_S = 3;
let chain = null;
let account = null;
let held = null;
let heldAt = 0;
let wanted = "";
let problem = null; // { text, place: what it belongs to, or null for all of it, isPassing: whether it may go by itself }
let news = "";
let hand = null; // id of what the keyboard was on before it was drawn anew
let drawn = "";
let working = false;

export function start() {
  look(() => gently(at("stake"), render));
  setInterval(() => {
    if (account && !at("view-stake").hidden && !document.hidden && !at("confirm").open) refresh({ isAsked: false });
  }, LOOK_S * 1000);
  setInterval(countDown, 1000);
}

export async function open(query) {
  const node = query.get("node") ?? wanted;
  wanted = /^\d{1,10}$/.test(node) ? node : ""; // it goes into a command to copy, and anybody may make a link
  drawn = "";
  render();
  await readChain();
  drawn = "";
  render();
}

/** The coordinator answers again. */
export function again() {
  if (!at("view-stake").hidden) (account ? refresh({ isAsked: false }) : readChain());
}

/** Read what this network's chain is, until it is known. */
async function readChain() {
  try {
    chain ??= await askJson("portal/chain");
    if (!known.listed.length) await readNodes();
    if (problem?.isPassing) problem = null;
  } catch (error) {
    problem = { text: sentence(error.message, "."), place: null, isPassing: true };
    setTimeout(() => at("view-stake").hidden || readChain(), RETRY_S * 1000);
  }
  gently(at("stake"), render);
}

async function connect(provider) {
  await guarded("connect", async () => {
    account = await Account.connect(provider, () => {
      held = null;
      if (!account.address) account = null;
      refresh();
    });
    if (account.chainId !== chain.chain_id) await account.useChain(chain);
  });
  await refresh();
}

/** Do something that may fail; `place` is where that is said. */
async function guarded(place, work) {
  problem = null;
  news = "";
  working = true;
  render();
  try {
    await work();
  } catch (error) {
    const text = plainly(words(error, chain?.coin), account?.address);
    problem = { text: sentence(text, "."), place, isPassing: Boolean(error.isPassing) };
  } finally {
    working = false;
    drawn = "";
    render();
    if (problem) at("stake").querySelector(".problem")?.scrollIntoView({ block: "nearest" });
  }
}

/** Read again what the account has; where nobody asked, what somebody types or presses stays under his hands. */
async function refresh({ isAsked = true } = {}) {
  if (account?.address) {
    try {
      held = await askJson(`portal/accounts/${account.address}`);
      heldAt = Date.now();
      if (problem?.isPassing) problem = null;
    } catch (error) {
      problem ??= { text: sentence(error.message, "."), place: null, isPassing: true };
    }
  }
  if (isAsked) render();
  else gently(at("stake"), render);
}

/** Have a wish worked out, shown, signed. What goes wrong is said at `place`. */
async function wish(action, fields, place) {
  if (working) return;
  let plan = null;
  await guarded(place, async () => {
    if (account.chainId !== chain.chain_id) await account.useChain(chain);
    const body = JSON.stringify({ action, account: account.address, ...fields });
    plan = await (await ask("portal/plans", { method: "POST", headers: { "Content-Type": "application/json" }, body })).json();
  });
  if (!plan) return;
  if (await confirm(plan, account, chain)) {
    news = `Done: ${plainly(plan.title, account.address)}.`;
    for (const field of at("stake").querySelectorAll("input, textarea")) field.value = "";
  }
  await refresh();
  readNodes().catch(() => {});
}

function render() {
  const key = JSON.stringify([chain?.chain_id, account?.address, account?.chainId, { ...held, now: 0 }, wanted, problem, news, working, wallets().length, known.listed.length]);
  if (key === drawn) return;
  drawn = key;
  const kept = remember();
  at("stake").replaceChildren(h("div", { class: "wallet" },
    said(null),
    ...(account?.address && held && chain ? forAccount() : [welcome()])));
  recall(kept);
}

/** Say what went wrong, where it did. */
function said(place) {
  return problem && problem.place === place ? h("p", { class: "problem", role: "alert", id: "stake-problem" }, problem.text) : null;
}

/** Mark a field whose form was refused. */
const marked = (place) => (problem?.place === place ? { "aria-invalid": "true", "aria-describedby": "stake-problem" } : {});

/** Keep what somebody is typing while the page is drawn anew. */
function remember() {
  const fields = [...at("stake").querySelectorAll("input, select, textarea")].map((field) => [field.id, field.value]);
  const open = [...at("stake").querySelectorAll("details[open]")].map((details) => details.id);
  const focused = document.activeElement;
  if (at("stake").contains(focused)) hand = focused.id || hand;
  else if (focused !== document.body && !at("confirm").open) hand = null;
  return { fields, open };
}

function recall({ fields, open }) {
  for (const [id, value] of fields) {
    const field = at(id);
    if (!field || !value || id === "vote-node") continue;
    field.value = value;
    field.dispatchEvent(new Event("input"));
  }
  for (const id of open) at(id)?.setAttribute("open", "");
  if (hand && !at("confirm").open) takeUp();
}

/** Give the keyboard back to what it was on; where that is gone, to the heading of what is there now. */
function takeUp() {
  const before = at(hand);
  if (before?.disabled && working) return; // it comes back
  (before && !before.disabled ? before : at("account-title"))?.focus({ preventScroll: true });
}

function welcome() {
  const all = wallets();
  const buttons = all.map(({ name, provider }, index) =>
    h("button", { type: "button", class: "primary", id: `connect-${index}`, disabled: working || !chain, onclick: () => connect(provider) }, `Connect ${name}`));
  const command = `cuckoo vote ${wanted || "NODE"} 1000 --network network.toml --keystore account.json`;
  const none = [
    h("p", {}, "No wallet was found in this browser. A wallet is a browser extension (MetaMask and Rabby are two) that keeps your key and signs for you: install one, then reload this page. On a phone, open this page in the browser inside a wallet app."),
    h("p", { class: "muted" }, "Or vote from a terminal, without a browser:"), h("pre", {}, h("code", {}, command))];
  return h("div", { class: "card welcome" },
    h("h2", {}, "Connect your wallet"),
    wanted ? h("p", {}, "Then you can vote for ", h("b", {}, called(wanted)), ".") : null,
    h("p", { class: "muted" }, "Your wallet shows each transaction before you sign it. This page never sees a key.",
      chain ? ` You need CAI, and some ${chain.coin} for the chain’s fees.` : "",
      chain?.contracts.faucet ? " This is a test network: once connected, its faucet gives you CAI for nothing." : ""),
    ...(all.length ? [h("div", { class: "actions" }, ...buttons)] : none),
    said("connect"),
    chain ? h("dl", { class: "facts" },
      h("dt", {}, "Chain"), h("dd", {}, `${chain.name} (${chain.chain_id})`),
      h("dt", {}, "Staking contract"), h("dd", { class: "mono" }, chain.contracts.staking),
      h("dt", {}, "CAI token"), h("dd", { class: "mono" }, chain.contracts.cai),
      h("dt", {}, "Staked in all"), h("dd", {}, cai(chain.staked, 0)),
      h("dt", {}, "Shared out to stakers"), h("dd", {}, `${cai(chain.emission_per_day, 0)} a day`),
      h("dt", {}, "Taking stake back takes"), h("dd", {}, span(chain.unbonding_s))) : h("p", { class: "hint" }, "Reading the chain…"));
}

function forAccount() {
  const means = { held, chain, working, wish, said, now: chainNow() };
  const vote = h("div", { class: "split even" }, voteCard(), releasesCard(means));
  const parts = held.holdings.length ? [stakesCard(means), vote] : [vote, stakesCard(means)];
  return [accountCard(), ...parts, registerCard(chain, held.account, wish, working, said("register"))];
}

function accountCard() {
  const right = account.chainId === chain.chain_id;
  const drip = held.next_drip_at !== null && held.next_drip_at <= held.now;
  const faucet = held.next_drip_at === null ? null
    : h("button", { type: "button", id: "faucet", disabled: !drip || working, title: drip ? null : "once a day", onclick: () => wish("faucet", {}, "account") }, drip ? "Take CAI from the faucet" : `Faucet again in ${span(held.next_drip_at - held.now)}`);
  return h("div", { class: "card account" },
    h("div", {}, h("h2", { id: "account-title", tabindex: "-1" }, "Your account"), h("span", { class: "big" }, address(held.account))),
    h("div", {}, h("small", { class: "muted" }, "CAI"), h("span", { class: "big", id: "balance" }, number(held.balance, 4))),
    h("div", {}, h("small", { class: "muted" }, `${chain.coin} for gas`), h("span", { class: "big" }, number(held.gas, 5))),
    h("div", { class: "actions" },
      right ? null : h("button", { type: "button", class: "primary", id: "switch", disabled: working, onclick: () => guarded("account", () => account.useChain(chain)) }, `Switch to ${chain.name}`),
      faucet),
    right ? null : h("p", {}, `Your wallet is on another chain (number ${account.chainId}). What you have here is shown anyway; to sign anything, switch it to ${chain.name}.`),
    news ? h("p", { class: "news", role: "status" }, news) : null,
    said("account") ?? said("connect"));
}

function voteCard() {
  const nodes = [...known.listed].sort((a, b) => (a.role === b.role ? a.id - b.id : a.role < b.role ? 1 : -1));
  const mine = (node) => node.owner.toLowerCase() === account.address.toLowerCase();
  const option = (node) => h("option", { value: node.id, selected: String(node.id) === wanted },
    `${nameOf(node.id)} #${node.id} · keeps ${percent(node.commission_bps)}${node.state === "active" ? "" : ` · ${node.state}`}${mine(node) ? " · yours" : ""}`);
  const group = (role, title) => h("optgroup", { label: title }, ...nodes.filter((node) => node.role === role).map(option));
  const note = h("small", {}, keeps(wanted || nodes[0]?.id));
  const choose = (event) => {
    wanted = event.target.value;
    note.textContent = keeps(wanted);
  };
  const form = h("form", { class: "card stack", id: "vote-form" },
    h("h2", {}, "Vote for a node"),
    h("label", { class: "field" }, h("span", {}, "Node"), h("select", { id: "vote-node", onchange: choose }, group("miner", "Miners"), group("coordinator", "Coordinators")), note),
    h("label", { class: "field" }, h("span", {}, "Amount (CAI)"), h("input", { id: "vote-amount", inputmode: "decimal", autocomplete: "off", required: true, placeholder: "1000", ...marked("vote") }),
      h("small", {}, `You have ${cai(held.balance, 4)}. You can take it back; it then waits ${span(chain.unbonding_s)}.`)),
    said("vote"),
    h("div", { class: "actions" }, h("button", { class: "primary", type: "submit", id: "vote-go", disabled: working }, "Review the vote"), h("span", { class: "hint" }, "Nothing is sent yet.")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    wish("vote", { node: at("vote-node").value, amount: at("vote-amount").value }, "vote");
  });
  return form;
}

/** Say what voting for a node brings. */
function keeps(id) {
  const node = known.listed.find((one) => String(one.id) === String(id));
  if (!node) return "";
  if (node.owner.toLowerCase() === account.address.toLowerCase()) return "It is your own: this adds to its own stake.";
  return `${nameOf(id)} keeps ${percent(node.commission_bps)} of its rewards; the rest is shared among all stake on it, yours with it.`;
}

const chainNow = () => held.now + Math.floor((Date.now() - heldAt) / 1000);

function countDown() {
  if (!held) return;
  for (const element of document.querySelectorAll("[data-release]")) {
    element.textContent = whenReady(Number(element.dataset.release), chainNow());
  }
  const button = at("withdraw");
  if (button && !working) button.disabled = !held.releases.some((item) => item.release_at <= chainNow());
}
