// What an account has: stake on nodes, what it has earned, and what is on its way back.

import { cai, h, span } from "./dom.js";
import { known, nameOf } from "./known.js";

/** Give the card of stakes and earnings; `said(place)` is what went wrong there. */
export function stakesCard({ held, working, wish, said }) {
  const rows = held.holdings.map((item) => stakeRow(item, { working, wish, said }));
  const earned = held.holdings.reduce((sum, item) => sum + BigInt(item.earned), 0n);
  const titles = ["Node", "Stake", "Earned", ""];
  return h("div", { class: "card" },
    h("div", { class: "tools" }, h("h2", {}, "Your stake"),
      held.holdings.length > 1 ? h("button", { type: "button", class: "small", id: "claim-all", disabled: working || earned === 0n, onclick: () => wish("claim", {}, "claim") }, `Claim all: ${cai(earned.toString(), 4)}`) : null),
    said("claim"),
    rows.length ? h("div", { class: "scroll" }, h("table", { class: "cards", id: "holdings" },
      h("thead", {}, h("tr", {}, ...titles.map((title, index) => h("th", { scope: "col", class: index === 1 || index === 2 ? "num" : null }, title)))),
      h("tbody", {}, ...rows)))
      : h("p", { class: "hint" }, `You have no stake yet. A vote starts to earn with the next epoch${epochWords()}.`));
}

function stakeRow(item, { working, wish, said }) {
  const cell = (heading, attributes, ...children) => h("td", { "data-label": heading, ...attributes }, ...children);
  const place = `part-${item.node}`;
  const back = h("button", { type: "button", class: "small", id: `unvote-${item.node}`, disabled: working,
    onclick: () => wish("unvote", { node: String(item.node), amount: part.value.trim() || "all" }, place) }, "Take all back");
  const part = h("input", { id: place, inputmode: "decimal", autocomplete: "off", placeholder: "all", "aria-label": `Amount of CAI to take back from ${nameOf(item.node)}, or all`, size: 8,
    oninput: () => { back.textContent = part.value.trim() ? "Take back" : "Take all back"; } });
  const claim = h("button", { type: "button", class: "small", id: `claim-${item.node}`, disabled: working || item.earned === "0",
    title: item.earned === "0" ? "nothing is earned yet" : null, onclick: () => wish("claim", { node: String(item.node) }, "claim") }, "Claim");
  const waits = item.earned === "0" && item.stake !== "0";
  return h("tr", {},
    cell("Node", {}, h("span", {}, h("b", {}, nameOf(item.node)), h("span", { class: "muted" }, ` #${item.node}${item.own ? " · yours" : ""}`))),
    cell("Stake", { class: "num" }, cai(item.stake, 4)),
    cell("Earned", { class: "num" }, h("span", {}, cai(item.earned, 6), waits ? h("small", { class: "muted" }, h("br"), `from the next epoch on${epochWords()}`) : null)),
    cell("", { class: "end" }, h("div", { class: "actions" }, claim, item.stake === "0" ? null : part, item.stake === "0" ? null : back), said(place)));
}

function epochWords() {
  return known.network ? ` (an epoch lasts ${span(known.network.epoch_s)})` : "";
}

/** Give the card of stake that was taken back; `now` is the chain's time. */
export function releasesCard({ held, chain, working, wish, said, now }) {
  const isReady = held.releases.some((item) => item.release_at <= now);
  return h("div", { class: "card stack" },
    h("h2", {}, "Taken back"),
    held.releases.length ? h("ul", { class: "stack", id: "releases" }, ...held.releases.map((item) =>
      h("li", {}, h("b", {}, cai(item.value, 4)), h("span", { class: "muted" }, ` from ${nameOf(item.node)} · `),
        h("span", { "data-release": item.release_at }, whenReady(item.release_at, now)))))
      : h("p", { class: "hint" }, `Nothing. What you take back from a node waits ${span(chain.unbonding_s)}, earns nothing meanwhile and can still be slashed; then you withdraw it here.`),
    said("withdraw"),
    held.releases.length ? h("div", { class: "actions" }, h("button", { type: "button", class: "primary", id: "withdraw", disabled: working || !isReady, onclick: () => wish("withdraw", {}, "withdraw") }, "Withdraw")) : null);
}

/** Say when a release can be withdrawn. */
export const whenReady = (at, now) => (at <= now ? "ready to withdraw" : `can be withdrawn in ${span(at - now)}`);
