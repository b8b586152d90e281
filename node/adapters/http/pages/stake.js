// Staking with the browser's wallet. What an account has, and what a wish would do, the coordinator reads from the chain;
// nothing happens but what the wallet's owner signs.

import { address, ask, askJson, at, cai, h, number, percent, span } from "./dom.js";
import { confirm } from "./confirm.js";
import { gently } from "./gently.js";
import { known, nameOf, readNodes } from "./known.js";
import { registerCard } from "./register.js";
import { Account, look, wallets, words } from "./wallet.js";

const LOOK_S = 6;
const RETRY_S = 3;
let chain = null;
let account = null;
let held = null;
let heldAt = 0;
let wanted = "";
let problem = "";
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
  wanted = query.get("node") ?? wanted;
  drawn = "";
  render();
  await readChain();
  drawn = "";
  render();
}

/** Read what this network's chain is, until it is known. */
async function readChain() {
  try {
    chain ??= await askJson("portal/chain");
    if (!known.listed.length) await readNodes();
    problem = "";
  } catch (error) {
    problem = sentence(error.message);
    setTimeout(() => at("view-stake").hidden || readChain(), RETRY_S * 1000);
  }
  gently(at("stake"), render);
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

async function connect(provider) {
  await guarded(async () => {
    account = await Account.connect(provider, () => {
      held = null;
      if (!account.address) account = null;
      refresh();
    });
    if (account.chainId !== chain.chain_id) await account.useChain(chain);
  });
  await refresh();
}

async function guarded(work) {
  problem = "";
  working = true;
  render();
  try {
    await work();
  } catch (error) {
    problem = words(error);
  } finally {
    working = false;
    drawn = "";
    render();
  }
}

/** Read again what the account has; where nobody asked, what somebody types or presses stays under his hands. */
async function refresh({ isAsked = true } = {}) {
  if (account?.address) {
    try {
      held = await askJson(`portal/accounts/${account.address}`);
      heldAt = Date.now();
    } catch (error) {
      problem = error.message;
    }
  }
  if (isAsked) render();
  else gently(at("stake"), render);
}

/** Have a wish worked out, shown, signed. */
async function wish(action, fields = {}) {
  if (working) return;
  let plan = null;
  await guarded(async () => {
    if (account.chainId !== chain.chain_id) await account.useChain(chain);
    const body = JSON.stringify({ action, account: account.address, ...fields });
    plan = await (await ask("portal/plans", { method: "POST", headers: { "Content-Type": "application/json" }, body })).json();
  });
  if (!plan) return;
  if (await confirm(plan, account, chain)) {
    for (const field of at("stake").querySelectorAll("input, textarea")) field.value = "";
  }
  await refresh();
  readNodes().catch(() => {});
}

function render() {
  const key = JSON.stringify([chain?.chain_id, account?.address, account?.chainId, { ...held, now: 0 }, wanted, problem, working, wallets().length, known.listed.length]);
  if (key === drawn) return;
  drawn = key;
  const kept = remember();
  at("stake").replaceChildren(h("div", { class: "wallet" },
    problem ? h("p", { class: "problem", role: "alert" }, problem) : null,
    ...(account?.address && held && chain ? forAccount() : [welcome()])));
  recall(kept);
}

/** Keep what somebody is typing while the page is drawn anew. */
function remember() {
  const fields = [...at("stake").querySelectorAll("input, select, textarea")].map((field) => [field.id, field.value]);
  const open = [...at("stake").querySelectorAll("details[open]")].map((details) => details.id);
  return { fields, open, focused: document.activeElement?.id };
}

function recall({ fields, open, focused }) {
  for (const [id, value] of fields) {
    const field = at(id);
    if (field && value && id !== "vote-node") field.value = value;
  }
  for (const id of open) at(id)?.setAttribute("open", "");
  if (focused && at("stake").contains(at(focused))) at(focused)?.focus();
}

function welcome() {
  const all = wallets();
  const buttons = all.map(({ name, provider }) =>
    h("button", { type: "button", class: "primary", disabled: working || !chain, onclick: () => connect(provider) }, `Connect ${name}`));
  const none = h("p", {}, "No wallet was found in this browser. Install one as an extension, or stake from a terminal with ",
    h("code", { class: "mono" }, "cuckoo vote"), ".");
  return h("div", { class: "card welcome" },
    h("h2", {}, "Connect your wallet"),
    h("p", { class: "muted" }, "Your wallet shows each transaction before you sign it. This page never sees a key."),
    all.length ? h("div", { class: "actions" }, ...buttons) : none,
    chain ? h("dl", { class: "facts" },
      h("dt", {}, "Chain"), h("dd", {}, `${chain.name} (${chain.chain_id})`),
      h("dt", {}, "Staking contract"), h("dd", { class: "mono" }, chain.contracts.staking),
      h("dt", {}, "CAI token"), h("dd", { class: "mono" }, chain.contracts.cai),
      h("dt", {}, "Staked in all"), h("dd", {}, cai(chain.staked, 0)),
      h("dt", {}, "Shared out to stakers"), h("dd", {}, `${cai(chain.emission_per_day, 0)} a day`),
      h("dt", {}, "Taking stake back takes"), h("dd", {}, span(chain.unbonding_s))) : h("p", { class: "hint" }, "Reading the chain…"));
}

function forAccount() {
  return [accountCard(), h("div", { class: "split even" }, voteCard(), releasesCard()), stakesCard(), registerCard(chain, held.account, wish)];
}

function accountCard() {
  const right = account.chainId === chain.chain_id;
  const drip = held.next_drip_at !== null && held.next_drip_at <= held.now;
  const faucet = held.next_drip_at === null ? null
    : h("button", { type: "button", id: "faucet", disabled: !drip || working, title: drip ? null : "once a day", onclick: () => wish("faucet") }, drip ? "Take CAI from the faucet" : `Faucet again in ${span(held.next_drip_at - held.now)}`);
  return h("div", { class: "card account" },
    h("div", {}, h("small", { class: "muted" }, "Your account"), h("span", { class: "big" }, address(held.account))),
    h("div", {}, h("small", { class: "muted" }, "CAI"), h("span", { class: "big", id: "balance" }, number(held.balance, 4))),
    h("div", {}, h("small", { class: "muted" }, `${chain.coin} for gas`), h("span", { class: "big" }, number(held.gas, 5))),
    h("div", { class: "actions" },
      right ? null : h("button", { type: "button", class: "primary", onclick: () => guarded(() => account.useChain(chain)) }, `Switch to ${chain.name}`),
      faucet));
}

function voteCard() {
  const nodes = [...known.listed].sort((a, b) => (a.role === b.role ? a.id - b.id : a.role < b.role ? 1 : -1));
  const mine = (node) => node.owner.toLowerCase() === account.address.toLowerCase();
  const option = (node) => h("option", { value: node.id, selected: String(node.id) === wanted },
    `${nameOf(node.id)} #${node.id} · keeps ${percent(node.commission_bps)}${node.state === "active" ? "" : ` · ${node.state}`}${mine(node) ? " · yours" : ""}`);
  const group = (role, title) => h("optgroup", { label: title }, ...nodes.filter((node) => node.role === role).map(option));
  const form = h("form", { class: "card stack", id: "vote-form" },
    h("h2", {}, "Vote for a node"),
    h("label", { class: "field" }, h("span", {}, "Node"), h("select", { id: "vote-node", onchange: (event) => { wanted = event.target.value; } }, group("miner", "Miners"), group("coordinator", "Coordinators"))),
    h("label", { class: "field" }, h("span", {}, "Amount (CAI)"), h("input", { id: "vote-amount", inputmode: "decimal", required: true, placeholder: "1000" }),
      h("small", {}, `You have ${cai(held.balance, 4)}. On a node of your own it counts as own stake.`)),
    h("div", { class: "actions" }, h("button", { class: "primary", type: "submit", disabled: working }, "Look at the vote")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    wish("vote", { node: at("vote-node").value, amount: at("vote-amount").value });
  });
  return form;
}

function stakesCard() {
  const cell = (heading, attributes, ...children) => h("td", { "data-label": heading, ...attributes }, ...children);
  const rows = held.holdings.map((item) => {
    const part = h("input", { id: `part-${item.node}`, inputmode: "decimal", placeholder: "all", "aria-label": `Amount of CAI to take back from ${nameOf(item.node)}`, size: 8 });
    return h("tr", {},
      cell("Node", {}, h("span", {}, h("b", {}, nameOf(item.node)), h("span", { class: "muted" }, ` #${item.node}${item.own ? " · yours" : ""}`))),
      cell("Stake", { class: "num" }, cai(item.stake, 4)),
      cell("Earned", { class: "num" }, cai(item.earned, 6)),
      cell("", { class: "end" }, h("div", { class: "actions" },
        h("button", { type: "button", class: "small", id: `claim-${item.node}`, disabled: working || item.earned === "0", onclick: () => wish("claim", { node: String(item.node) }) }, "Claim"),
        item.stake === "0" ? null : part,
        item.stake === "0" ? null : h("button", { type: "button", class: "small", id: `unvote-${item.node}`, disabled: working, onclick: () => wish("unvote", { node: String(item.node), amount: part.value.trim() || "all" }) }, "Take back"))));
  });
  const earned = held.holdings.reduce((sum, item) => sum + BigInt(item.earned), 0n);
  return h("div", { class: "card" },
    h("div", { class: "tools" }, h("h2", {}, "Your stake"),
      held.holdings.length > 1 ? h("button", { type: "button", class: "small", id: "claim-all", disabled: working || earned === 0n, onclick: () => wish("claim") }, `Claim all: ${cai(earned.toString(), 4)}`) : null),
    rows.length ? h("div", { class: "scroll" }, h("table", { class: "cards", id: "holdings" },
      h("thead", {}, h("tr", {}, ...["Node", "Stake", "Earned", ""].map((title, index) => h("th", { scope: "col", class: index === 1 || index === 2 ? "num" : null }, title)))),
      h("tbody", {}, ...rows)))
      : h("p", { class: "hint" }, "You have no stake yet. A vote starts to earn with the next epoch."));
}

function releasesCard() {
  const ready = held.releases.filter((item) => item.release_at <= chainNow());
  return h("div", { class: "card stack" },
    h("h2", {}, "On its way back"),
    held.releases.length ? h("ul", { class: "stack", id: "releases" }, ...held.releases.map((item) =>
      h("li", {}, h("b", {}, cai(item.value, 4)), h("span", { class: "muted" }, ` from ${nameOf(item.node)} · `),
        h("span", { "data-release": item.release_at }, whenReady(item.release_at)))))
      : h("p", { class: "hint" }, `Nothing. What you take back waits ${span(chain.unbonding_s)}, earns nothing meanwhile and can still be slashed; then you withdraw it here.`),
    held.releases.length ? h("div", { class: "actions" }, h("button", { type: "button", class: "primary", id: "withdraw", disabled: working || !ready.length, onclick: () => wish("withdraw") }, "Withdraw")) : null);
}

const chainNow = () => held.now + Math.floor((Date.now() - heldAt) / 1000);
const whenReady = (at_) => (at_ <= chainNow() ? "ready" : `in ${span(at_ - chainNow())}`);

function countDown() {
  if (!held) return;
  for (const element of document.querySelectorAll("[data-release]")) {
    element.textContent = whenReady(Number(element.dataset.release));
  }
  const button = at("withdraw");
  if (button && !working) button.disabled = !held.releases.some((item) => item.release_at <= chainNow());
}
