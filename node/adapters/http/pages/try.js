// Make a picture: hand a task in, follow it, show the picture and its receipt.

import { at, ask, askJson, h, seconds } from "./dom.js";
import { called, follow, known } from "./known.js";
import { showReceipt } from "./receipt.js";
import { readEvents } from "./sse.js";

const IDEAS = ["a red heart", "a sleepy cat", "a green tree", "a rocket in space"];
const STAGES = [["queued", "Accepted"], ["offered", "Offered"], ["claimed", "Being drawn"], ["done", "Done"]];
const NARROW_PX = 900;
const LAST = new Set(["done", "failed"]);
let running = null;
let shownUrl = null;
let offered = "";

export function start() {
  at("ideas").replaceChildren(...IDEAS.map((idea) =>
    h("button", { type: "button", onclick: () => { at("prompt").value = idea; at("prompt").focus(); } }, idea)));
  at("model").addEventListener("change", showModel);
  at("try-form").addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  at("stop").addEventListener("click", stop);
  stages(-1);
  follow(showModels);
}

export const open = () => known.network && showModels(known);

function showModels({ network }) {
  at("key-field").hidden = !network.requires_key;
  at("key").placeholder = network.requires_key ? "sk-…" : "not needed here";
  at("go").disabled = running !== null || !network.models.length;
  const now = JSON.stringify(network.models.map((model) => [model.id, model.sizes]));
  if (now === offered) return;
  offered = now;
  const before = at("model").value;
  at("model").replaceChildren(...network.models.map((model) => h("option", { value: model.id }, model.id)));
  if (network.models.some((model) => model.id === before)) at("model").value = before;
  showModel();
}

function showModel() {
  const model = chosen();
  if (!model) {
    at("model-note").textContent = "No miner offers a model now.";
    return;
  }
  at("size").replaceChildren(...model.sizes.map((size) =>
    h("option", { value: size, selected: size === model.default_size }, size.replace("x", " × "))));
  at("steps").value = "";
  at("steps").max = model.max_steps;
  at("steps").placeholder = `${model.default_steps}, at most ${model.max_steps}`;
  at("model-note").textContent = `${model.title}. Served by ${model.miners} ${model.miners === 1 ? "miner" : "miners"} now.`;
}

const chosen = () => known.network?.models.find((model) => model.id === at("model").value);

function headers() {
  const key = at("key").value.trim();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function request() {
  const body = { prompt: at("prompt").value.trim(), model: at("model").value, size: at("size").value };
  if (at("negative").value.trim()) body.negative_prompt = at("negative").value.trim();
  if (at("steps").value) body.steps = Number(at("steps").value);
  if (at("seed").value) body.seed = Number(at("seed").value);
  return body;
}

async function run() {
  if (running) return;
  const mine = (running = { task: null, begun: performance.now(), stopped: false });
  problem(null);
  at("receipt").hidden = true;
  at("downloads").hidden = true;
  at("go").disabled = true;
  at("stop").hidden = false;
  canvas(h("p", {}, "Looking for a miner…"));
  stages(0);
  say("handing it in");
  if (innerWidth < NARROW_PX) at("canvas").scrollIntoView({ block: "center" });
  try {
    const options = { method: "POST", headers: { "Content-Type": "application/json", ...headers() }, body: JSON.stringify(request()) };
    const accepted = await askJson("v1/tasks", options);
    mine.task = accepted.task;
    const end = await followTask(accepted, mine);
    if (end.stage === "failed") throw new Error(failure(end.reason));
    await finish(accepted, end, mine);
  } catch (error) {
    problem(error.status === 401 ? keyNeeded() : error.message);
    canvas(h("p", {}, "No picture this time."));
    stages(-1);
    say("");
  } finally {
    running = null;
    at("go").disabled = !known.network?.models.length;
    at("stop").hidden = true;
  }
}

/** Follow a task to its end, also over a stream that breaks. */
async function followTask(accepted, mine) {
  for (let tries = 0; tries < 20; tries += 1) {
    let end = null;
    try {
      const answer = await ask(accepted.events.slice(1), { headers: headers() });
      await readEvents(answer, (_, update) => {
        progress(update, mine);
        if (LAST.has(update.stage)) end = update;
      });
    } catch (error) {
      if (error.status && error.status !== 429 && error.status < 500) throw error;
    }
    if (end) return end;
    say("the connection broke; asking again");
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  throw new Error("this coordinator does not answer any more; the task may still be drawn");
}

function progress(update, mine) {
  const took = seconds(performance.now() - mine.begun);
  if (update.stage === "offered") {
    stages(1);
    say("offered to the miners; the draw decides who comes first");
  } else if (update.stage === "claimed") {
    stages(2);
    say(`${called(update.miner)} won the draw`);
    canvas(h("p", {}, `${called(update.miner)} is drawing…`));
  } else if (update.stage === "progress") {
    stages(2);
    at("progress").value = update.steps ? update.step / update.steps : 0;
    say(`${called(update.miner)} draws: step ${update.step} of ${update.steps}, ${took}`);
    if (update.preview) canvas(h("img", { src: update.preview, alt: "Preview of the picture", class: "preview" }));
  }
}

async function finish(accepted, end, mine) {
  const answer = await ask(end.url.slice(1));
  const picture = await answer.blob();
  if (shownUrl) URL.revokeObjectURL(shownUrl);
  shownUrl = URL.createObjectURL(picture);
  canvas(h("img", { src: shownUrl, alt: at("prompt").value.trim() }));
  stages(3);
  at("progress").value = 1;
  say(`drawn by ${called(end.miner)} in ${seconds(performance.now() - mine.begun)}`);
  const receipt = await askJson(`v1/receipts/${accepted.task}`, { headers: headers() });
  const receiptFile = new Blob([JSON.stringify(receipt)], { type: "application/json" });
  const receiptUrl = URL.createObjectURL(receiptFile);
  at("downloads").replaceChildren(
    h("a", { class: "button", href: shownUrl, download: "picture.png" }, "Save the picture"),
    h("a", { class: "button", href: receiptUrl, download: "receipt.json" }, "Save the receipt"));
  at("downloads").hidden = false;
  showReceipt(at("receipt"), { receipt, picture, task: accepted.task, end });
}

async function stop() {
  const task = running?.task;
  if (!task) return;
  running.stopped = true;
  try {
    await ask(`v1/tasks/${task}`, { method: "DELETE", headers: headers() });
  } catch (error) {
    problem(error.message);
  }
}

function keyNeeded() {
  at("key").focus();
  return at("key").value.trim()
    ? "This coordinator does not know that key. Ask who runs it for one."
    : "This coordinator serves only those who have an API key. Ask who runs it for one.";
}

function failure(reason) {
  if (reason === "cancelled") return "You stopped it.";
  if (reason === "no_miner") return "No miner took it in time: all may be busy. Try again.";
  if (reason === "deadline") return "It was not drawn in time. Try again.";
  return `It ended without a picture: ${String(reason ?? "unknown").replaceAll("_", " ")}.`;
}

function canvas(content) {
  at("canvas").replaceChildren(content);
  at("canvas").classList.toggle("has", content.tagName === "IMG");
}

function stages(reached) {
  at("stages").replaceChildren(...STAGES.map(([, words], index) =>
    h("li", { class: index <= reached ? "on" : "", "aria-current": index === reached ? "step" : null }, words)));
  if (reached < 2) at("progress").value = 0;
}

const say = (text) => { at("try-status").textContent = text; };

function problem(text) {
  at("try-problem").hidden = !text;
  at("try-problem").textContent = text ?? "";
}
