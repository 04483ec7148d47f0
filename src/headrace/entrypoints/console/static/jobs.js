// Sends a file in pieces (tus 1.0.0), goes on where a lost connection left it, and shows how its columns fit.
"use strict";
const PIECE = 8 << 20, TRIES = 8;
const at = (id) => document.getElementById(id);
let current = null;

async function ask(method, path, body, headers) {
  const reply = await fetch(path, { method, body, headers: { "tus-resumable": "1.0.0", ...headers } });
  if (!reply.ok) {
    const error = await reply.json().catch(() => ({ error: `The server answered ${reply.status}.` }));
    throw Object.assign(new Error([error.error, error.expected && `Expected: ${error.expected}.`, error.todo].filter(Boolean).join(" ")), { final: reply.status < 500 && reply.status !== 409 });
  }
  return reply;
}

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

async function send(file) {
  const begun = await ask("POST", "/api/uploads", null, { "upload-length": String(file.size), "upload-metadata": `filename ${base64(file.name)}` });
  const upload = await begun.json();
  const place = `/api/uploads/${upload.id}`;
  let offset = 0, tries = 0;
  while (offset < file.size) {
    try {
      const reply = await ask("PATCH", place, file.slice(offset, offset + PIECE), { "content-type": "application/offset+octet-stream", "upload-offset": String(offset) });
      offset = Number(reply.headers.get("upload-offset"));
      tries = 0;
    } catch (error) {
      if (error.final || ++tries > TRIES) throw error;
      at("said").textContent = "the connection was lost; trying again";
      await new Promise((done) => setTimeout(done, 250 * 2 ** tries));
      offset = Number((await ask("GET", place)).headers.get("upload-offset"));
    }
    at("sent").style.width = `${(100 * offset) / file.size}%`;
    at("said").textContent = `${(offset / 1e6).toFixed(1)} of ${(file.size / 1e6).toFixed(1)} MB sent`;
  }
  return upload;
}

function line(list, mark, names, note) {
  if (!names.length) return;
  const item = document.createElement("p");
  item.className = mark;
  item.textContent = `${note}: ${names.join(", ")}`;
  list.append(item);
}

async function look() {
  const found = await (await ask("GET", `/api/uploads/${current.id}/look?model=${encodeURIComponent(at("model").value)}`)).json();
  const box = at("match");
  box.replaceChildren();
  line(box, "good", found.found, "columns that the model knows");
  line(box, "bad", found.missing, "missing, so nothing can be scored");
  line(box, "warn", found.absent, "missing, and counted as null");
  line(box, "quiet", found.extra, "not given to the model");
  for (const [from, to] of Object.entries(found.renamed)) {
    const label = document.createElement("label");
    const tick = Object.assign(document.createElement("input"), { type: "checkbox", checked: true, className: "rename" });
    tick.dataset.from = from;
    tick.dataset.to = to;
    label.append(tick, ` ${from} is ${to}`);
    box.append(label);
  }
  box.hidden = false;
  at("start").hidden = false;
}

async function take(file) {
  at("wrong").textContent = "";
  at("match").hidden = at("start").hidden = true;
  at("sending").hidden = false;
  try {
    current = await send(file);
    await look();
  } catch (error) {
    at("wrong").textContent = error.message;
  }
}

async function start(event) {
  event.preventDefault();
  const ticked = [...document.querySelectorAll("input.rename")].filter((tick) => tick.checked);
  const rename = Object.fromEntries(ticked.map((tick) => [tick.dataset.from, tick.dataset.to]));
  const tell = at("tell").value.trim();
  const asked = { model: at("model").value, source: current.source, form: at("form").value, keep: at("keep").value, rename, tell: tell ? [tell] : [] };
  try {
    const job = await (await ask("POST", "/api/jobs", JSON.stringify(asked), { "content-type": "application/json" })).json();
    location.assign(`/jobs/${job.id}`);
  } catch (error) {
    at("wrong").textContent = error.message;
  }
}

at("file").addEventListener("change", (event) => event.target.files[0] && take(event.target.files[0]));
at("model").addEventListener("change", () => current && look().catch((error) => { at("wrong").textContent = error.message; }));
at("start").addEventListener("submit", start);
at("drop").addEventListener("dragover", (event) => event.preventDefault());
at("drop").addEventListener("drop", (event) => { event.preventDefault(); if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]); });
