// The program of a Node session: it runs snippets one after the other in one context, and says what came of each.
//
// It runs inside, by the sandbox's own Node (16 or newer): `node node_worker.js DESCRIPTOR`. Messages and answers are
// those of `python_worker.py`. SIGINT ends the snippet and not the session.
"use strict";
const net = require("node:net");
const util = require("node:util");
const vm = require("node:vm");
const { createRequire } = require("node:module");

const MOST_TEXT = 65536;
const MOST_FRAMES = 50;
const socket = new net.Socket({ fd: Number(process.argv[2]), readable: true, writable: true });
let waiting = Buffer.alloc(0);
let count = 0;
let turn = Promise.resolve();

process.argv.splice(1);
globalThis.require = createRequire(process.cwd() + "/");
process.on("SIGINT", () => {}); // one that comes when no snippet runs
process.on("unhandledRejection", (bad) => console.error(bad));
process.on("uncaughtException", (bad) => console.error(bad));

socket.on("data", (data) => {
  waiting = Buffer.concat([waiting, data]);
  while (waiting.length >= 4 && waiting.length >= 4 + waiting.readUInt32BE(0)) {
    const size = waiting.readUInt32BE(0);
    const text = waiting.subarray(4, 4 + size).toString();
    const at = text.indexOf("\0");
    const asked = { id: text.slice(0, at), code: text.slice(at + 1) };
    waiting = waiting.subarray(4 + size);
    if (size > 0) turn = turn.then(() => answer(asked)); // else one is about to come
  }
});
socket.on("end", () => process.exit(0));

async function answer(asked) {
  const said = { id: asked.id, value: null, error: null };
  count += asked.code ? 1 : 0; // an empty one asks whether we are there
  try {
    const found = await run(asked.code, `<snippet ${count}>`);
    if (found !== undefined) {
      globalThis._ = found;
      said.value = valueOf(found);
    }
  } catch (bad) {
    said.error = shownError(bad);
  }
  const data = Buffer.from(wellFormed(JSON.stringify(said)));
  const size = Buffer.alloc(4);
  size.writeUInt32BE(data.length);
  // what was printed is handed over first
  process.stdout.write("", () => process.stderr.write("", () => socket.write(Buffer.concat([size, data]))));
}

// A promise as the last value is waited for; SIGINT ends the waiting.
async function run(code, filename) {
  const options = { filename, breakOnSigint: true, importModuleDynamically: vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER };
  let found;
  try {
    found = new vm.Script(code, options).runInThisContext(options);
  } catch (bad) {
    if (!(bad instanceof SyntaxError && /await is only valid/.test(bad.message))) throw bad;
    found = awaiting(code, options).runInThisContext(options);
  }
  if (!util.types.isPromise(found)) return found;
  let stop;
  const stopped = new Promise((_, reject) => {
    stop = () => reject(Object.assign(new Error("the snippet was interrupted"), { name: "Interrupted" }));
    process.once("SIGINT", stop);
  });
  try {
    return await Promise.race([found, stopped]);
  } finally {
    process.removeListener("SIGINT", stop);
  }
}

// An expression with `await` gives its value, statements with it give none.
function awaiting(code, options) {
  try {
    return new vm.Script(`(async () => (${code}\n))()`, options);
  } catch {
    return new vm.Script(`(async () => {${code}\n})()`, options);
  }
}

function valueOf(found) {
  const shown = { repr: util.inspect(found, { maxArrayLength: 1000 }).slice(0, MOST_TEXT), type: typeOf(found), mime: {} };
  try {
    const plain = JSON.stringify(found);
    if (plain !== undefined && plain.length <= MOST_TEXT) shown.json = JSON.parse(plain);
  } catch {}
  return shown;
}

function typeOf(found) {
  try {
    return String(found === null ? "null" : found?.constructor?.name ?? typeof found).slice(0, 200);
  } catch {
    return typeof found;
  }
}

// What is thrown is a snippet's own, and may fail at being shown.
function shownError(bad) {
  try {
    return errorOf(bad);
  } catch {
    const text = "(the exception cannot be shown)";
    return { type: "Exception", message: text, traceback: [], text };
  }
}

// Halves of characters, which alone are written as escapes, are no text for others.
function wellFormed(json) {
  return json.replace(/\\(?:\\|ud[89a-f][0-9a-f]{2})/g, (one) => (one.length === 2 ? one : "\ufffd"));
}

function errorOf(bad) {
  if (bad?.code === "ERR_SCRIPT_EXECUTION_INTERRUPTED") bad = Object.assign(new Error("the snippet was interrupted"), { name: "Interrupted" });
  const text = bad instanceof Error ? String(bad.stack) : util.inspect(bad);
  const frames = [];
  for (const line of text.split("\n")) {
    const found = /^\s+at (?:(.*?) \()?(<snippet \d+>|[^()]*?):(\d+):\d+\)?$/.exec(line);
    if (found) frames.push({ file: found[2].slice(0, 1000), line: Number(found[3]), name: (found[1] ?? "").slice(0, 200), text: "" });
  }
  const own = frames.filter((one) => one.file !== __filename && !one.file.startsWith("node:"));
  return {
    type: String(bad?.name ?? typeOf(bad)).slice(0, 200),
    message: String(bad?.message ?? text).slice(0, MOST_TEXT),
    traceback: own.slice(0, MOST_FRAMES).reverse(),
    text: text.split("\n").filter((line) => !line.includes(__filename) && !line.includes("node:")).join("\n").slice(0, MOST_TEXT),
  };
}
