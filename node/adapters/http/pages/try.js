// Make a picture: hand a task in, follow it, show the picture and its receipt.

import { at, ask, askJson, h, seconds, sentence } from "./dom.js";
import { called, follow, known, ours } from "./known.js";
import { showReceipt } from "./receipt.js";
import { readEvents } from "./sse.js";

const IDEAS = ["a red heart", "a sleepy cat", "a green tree", "a rocket in space"];
const STAGES = [["queued", "Accepted"], ["offered", "Offered"], ["claimed", "Being drawn"], ["done", "Done"]];
const NARROW_PX = 900;
const LAST = new Set(["done", "failed"]);
const TASK_DIGITS = 12;
const ASK_AGAIN_MS = 2000;
const PATIENCE_MS = 600_000; // for a coordinator that does not answer: it keeps what it accepted
let running = null;
let lastTask = null;
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
  at("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("try-form").requestSubmit();
  });
  at("stop").addEventListener("click", stop);
  at("again").addEventListener("click", () => run(lastTask));
  setInterval(tick, 500);
  stages(-1);
  follow(showModels);
}

/** Show the form; a task that the address names is looked for, so that a page that was loaded anew finds its picture. */
export function open(query) {
  if (known.network) showModels(known);
  const task = query.get("task");
  if (task && task !== lastTask && /^[0-9a-f]{64}$/.test(task)) {
    at("prompt").value ||= history.state?.prompt ?? "";
    run(task);
  }
}

function showModels({ network }) {
  at("key-field").hidden = !network.requires_key;
  at("try-cost").textContent = network.requires_key
    ? "It needs an API key of this coordinator, and counts as ordered with it."
    : "It costs you nothing: this coordinator pays the miner.";
  at("key").placeholder = network.requires_key ? "ck_…" : "not needed here";
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
  at("model-note").textContent = `${model.title}. Served by ${model.miners} ${model.miners === 1 ? "miner" : "miners"} now.${readsWords(model)}`;
}

/** Say how much of a prompt changes the picture; English has about four tokens for three words. */
function readsWords({ max_prompt_tokens: tokens }) {
  return tokens ? ` It reads about the first ${Math.floor(tokens * 0.75)} words.` : "";
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

/** Have a picture made, or go on with a task that was handed in before. */
async function run(task = null) {
  if (running) return;
  const mine = (running = { task, begun: performance.now(), stopped: false, phase: "", doing: "", isResumed: task !== null });
  const byKeyboard = document.activeElement === at("go");
  problem(null);
  for (const id of ["receipt", "downloads", "again"]) at(id).hidden = true;
  at("go").disabled = true;
  at("stop").hidden = false;
  if (byKeyboard) at("stop").focus();
  canvas(h("p", {}, "Looking for a miner…"));
  stages(0);
  say(task ? "Looking for your picture" : "Handing it in");
  if (innerWidth < NARROW_PX) at("canvas").scrollIntoView({ block: "center" });
  try {
    mine.task ??= await handIn();
    lastTask = mine.task;
    ours.add(mine.task.slice(0, TASK_DIGITS));
    history.replaceState({ prompt: at("prompt").value }, "", `#try?task=${mine.task}`);
    if (mine.stopped) await cancel(mine); // while it was handed in
    const end = await followTask(mine);
    if (end.stage === "failed") throw new Error(failure(end.reason));
    await finish(end, mine);
  } catch (error) {
    canvas(h("p", {}, "No picture this time."));
    stages(-1);
    if (mine.stopped) say("You stopped it.");
    else {
      say("");
      problem(error.status === 401 ? keyNeeded() : error.status === 404 && task ? GONE : sentence(error.message, "."));
      at("again").hidden = !error.isPassing || mine.task === null;
    }
  } finally {
    running = null;
    at("try-detail").textContent = "";
    at("go").disabled = !known.network?.models.length;
    if (document.activeElement === at("stop")) at("go").focus();
    at("stop").hidden = true;
  }
}

const GONE = "This picture is not here any more, or it was made for somebody else.";

async function handIn() {
  const options = { method: "POST", headers: { "Content-Type": "application/json", ...headers() }, body: JSON.stringify(request()) };
  return (await askJson("v1/tasks", options)).task;
}

/** Follow a task to its end, also over a stream that breaks, and while the coordinator is started again. */
async function followTask(mine) {
  for (let silentSince = performance.now(); performance.now() - silentSince < PATIENCE_MS; ) {
    let end = null;
    try {
      const answer = await ask(`v1/tasks/${mine.task}/events`, { headers: headers() });
      await readEvents(answer, (_, update) => {
        silentSince = performance.now();
        progress(update, mine);
        if (LAST.has(update.stage)) end = update;
      });
    } catch (error) {
      if (error.status && error.status !== 429 && error.status < 500) throw error;
    }
    if (end) return end;
    if (mine.stopped) throw new Error("stopped");
    mine.phase = "";
    mine.doing = "";
    say("No connection: asking again. The coordinator keeps what it accepted, so your picture may be drawn meanwhile.");
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
  throw Object.assign(new Error("this coordinator does not answer any more; your picture may still be drawn"), { isPassing: true });
}

/** Show a sign of life: how long it takes so far, and why nobody draws yet. */
function tick() {
  if (!running) return;
  const took = seconds(performance.now() - running.begun);
  const waits = running.phase === "offered" && allWork();
  const others = waits ? known.network.totals.open - 1 : 0;
  if (waits) say("Offered to the miners, who are all at work: the next one that is free may draw it");
  const queue = others > 0 ? `${others} other ${others === 1 ? "task is" : "tasks are"} unfinished` : "";
  at("try-detail").textContent = [running.doing, queue, took].filter(Boolean).join(" · ");
}

function allWork() {
  const places = (known.network?.members ?? []).filter((member) => member.here && member.places);
  return places.length > 0 && places.every((member) => !member.free);
}

function progress(update, mine) {
  mine.phase = update.stage;
  if (update.stage === "offered") {
    stages(1);
    say("Offered to the miners; the draw decides who comes first");
  } else if (update.stage === "claimed") {
    stages(2);
    say(`${called(update.miner)} won the draw`);
    canvas(h("p", {}, `${called(update.miner)} is drawing…`));
  } else if (update.stage === "progress") {
    stages(2);
    at("progress").value = update.steps ? update.step / update.steps : 0;
    say(`${called(update.miner)} draws`);
    mine.doing = `step ${update.step} of ${update.steps}`;
    if (update.preview) canvas(h("img", { src: update.preview, alt: "Preview of the picture", class: "preview" }));
  }
  tick();
}

async function finish(end, mine) {
  const answer = await ask(end.url.slice(1));
  const picture = await answer.blob();
  if (shownUrl) URL.revokeObjectURL(shownUrl);
  shownUrl = URL.createObjectURL(picture);
  canvas(h("img", { src: shownUrl, alt: at("prompt").value.trim() || "The picture that you asked for" }));
  stages(3);
  at("progress").value = 1;
  say(`Drawn by ${called(end.miner)}${mine.isResumed ? "" : ` in ${seconds(performance.now() - mine.begun)}`}`);
  const receipt = await askJson(`v1/receipts/${mine.task}`, { headers: headers() });
  const receiptFile = new Blob([JSON.stringify(receipt)], { type: "application/json" });
  const receiptUrl = URL.createObjectURL(receiptFile);
  at("downloads").replaceChildren(
    h("a", { class: "button", href: shownUrl, download: "picture.png" }, "Save the picture"),
    h("a", { class: "button", href: receiptUrl, download: "receipt.json" }, "Save the receipt"));
  at("downloads").hidden = false;
  showReceipt(at("receipt"), { receipt, picture, task: mine.task, end });
}

async function stop() {
  const mine = running;
  if (!mine) return;
  mine.stopped = true;
  if (mine.task) await cancel(mine);
}

async function cancel(mine) {
  try {
    await ask(`v1/tasks/${mine.task}`, { method: "DELETE", headers: headers() });
  } catch (error) {
    problem(`It may still be drawn: ${error.message}.`);
  }
}

function keyNeeded() {
  at("key").focus();
  return at("key").value.trim()
    ? "This coordinator does not know that key. Ask who runs it for one."
    : "This coordinator serves only those who have an API key. Ask who runs it for one.";
}

function failure(reason) {
  if (reason === "cancelled") return "It was stopped before there was a picture.";
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

/** Say it once: what changes all the time is no news to those who have the page read to them. */
function say(text) {
  if (at("try-status").textContent !== text) at("try-status").textContent = text;
}

function problem(text) {
  at("try-problem").hidden = !text;
  at("try-problem").textContent = text ?? "";
  if (text) at("try-problem").scrollIntoView({ block: "nearest" });
}
